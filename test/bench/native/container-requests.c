// List Blobs, Get Container Properties and the little that clients ask of an account. session.c calls it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

// XML that grows.
struct text {
  char *bytes;
  size_t used, room;
};

static void add(struct text *text, const char *from, size_t length) {
  if (text->used + length + 1 > text->room) {
    text->room = (text->used + length + 1) * 2;
    text->bytes = realloc(text->bytes, text->room);
    if (!text->bytes) abort();
  }
  memcpy(text->bytes + text->used, from, length);
  text->used += length;
  text->bytes[text->used] = '\0';
}

static void add_text(struct text *text, const char *from) {
  add(text, from, strlen(from));
}

static void add_escaped(struct text *text, const char *from) {
  for (; *from; from += 1) {
    if (*from == '&') add_text(text, "&amp;");
    else if (*from == '<') add_text(text, "&lt;");
    else if (*from == '>') add_text(text, "&gt;");
    else add(text, from, 1);
  }
}

static void add_element(struct text *text, const char *name, const char *value) {
  add_text(text, "<");
  add_text(text, name);
  add_text(text, ">");
  add_escaped(text, value);
  add_text(text, "</");
  add_text(text, name);
  add_text(text, ">");
}

// From header lines to <Metadata>.
static void add_metadata(struct text *text, const char *meta) {
  char key[256], value[META_BYTES];
  add_text(text, "<Metadata>");
  for (const char *line = meta; *line; line = strstr(line, "\r\n") + 2) {
    if (sscanf(line + strlen("x-ms-meta-"), "%255[^:]: %8191[^\r]", key, value) == 2) add_element(text, key, value);
  }
  add_text(text, "</Metadata>");
}

static void add_blob(struct text *text, const char *name, const struct blob *blob, bool with_metadata) {
  char properties[768];
  add_text(text, "<Blob>");
  add_element(text, "Name", name);
  snprintf(properties, sizeof properties,
           "<Properties><Creation-Time>Thu, 01 Jan 2026 00:00:00 GMT</Creation-Time>"
           "<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>0x%llX</Etag>"
           "<Content-Length>%llu</Content-Length><Content-Type>application/octet-stream</Content-Type>"
           "<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5 /><Cache-Control />"
           "<Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
           "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
           "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>",
           (unsigned long long)blob->etag, (unsigned long long)blob->size);
  add_text(text, properties);
  if (with_metadata) add_metadata(text, blob->meta);
  add_text(text, "</Blob>");
}

// The entries from `cursor` on; leaves in it where the next page begins, empty when there is none.
static void add_entries(struct session *session, struct text *text, char cursor[NAME_BYTES + 1], const char *prefix,
                        const char *delimiter, unsigned most) {
  size_t length = strlen(prefix);
  char include[128] = "";
  request_query(&session->request, "include", include, sizeof include);
  bool with_metadata = strstr(include, "metadata") != NULL;
  for (unsigned count = 0;; count += 1) {
    if (!blobs_next(cursor, session->name, &session->blob) || strncmp(session->name, prefix, length) != 0) {
      blobs_release(&session->blob);
      cursor[0] = '\0';
      return;
    }
    if (count == most) {
      blobs_release(&session->blob);
      snprintf(cursor, NAME_BYTES + 1, "%s", session->name);
      return;
    }
    char *cut = delimiter[0] ? strstr(session->name + length, delimiter) : NULL;
    if (cut) {
      cut[strlen(delimiter)] = '\0';
      add_text(text, "<BlobPrefix>");
      add_element(text, "Name", session->name);
      add_text(text, "</BlobPrefix>");
      // Behind all that begin so.
      session->name[strlen(session->name) - 1] += 1;
      snprintf(cursor, NAME_BYTES + 1, "%s", session->name);
    } else {
      add_blob(text, session->name, &session->blob, with_metadata);
      snprintf(cursor, NAME_BYTES + 1, "%s\x01", session->name);
    }
    blobs_release(&session->blob);
  }
}

bool list_blobs(struct session *session) {
  const struct request *request = &session->request;
  char prefix[NAME_BYTES] = "", delimiter[16] = "", marker[NAME_BYTES + 1] = "", number[16] = "5000";
  request_query(request, "prefix", prefix, sizeof prefix);
  request_query(request, "delimiter", delimiter, sizeof delimiter);
  request_query(request, "marker", marker, sizeof marker);
  request_query(request, "maxresults", number, sizeof number);
  unsigned long most = strtoul(number, NULL, 10);
  if (most == 0 || most > 5000) most = 5000;
  struct text text = {0};
  add_text(&text, "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"");
  add_escaped(&text, request->container);
  add_text(&text, "\">");
  add_element(&text, "Prefix", prefix);
  add_element(&text, "Marker", marker);
  add_element(&text, "MaxResults", number);
  add_element(&text, "Delimiter", delimiter);
  add_text(&text, "<Blobs>");
  add_entries(session, &text, strcmp(marker, prefix) < 0 ? strcpy(marker, prefix) : marker, prefix, delimiter,
              (unsigned)most);
  add_text(&text, "</Blobs>");
  add_element(&text, "NextMarker", marker);
  add_text(&text, "</EnumerationResults>");
  answer_begin(session, "200 OK");
  answer_header(session, "Content-Type: application/xml");
  totals.bytes_out += text.used;
  bool is_alive = answer_end(session, text.used, text.bytes, text.used);
  free(text.bytes);
  return is_alive;
}

bool container_request(struct session *session) {
  const struct request *request = &session->request;
  bool is_read = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
  session->blob.upload = NULL;
  // Get Account Information: of a storage account without a hierarchical namespace.
  if (is_read && request_query_is(request, "restype", "account")) {
    answer_begin(session, "200 OK");
    answer_header(session, "x-ms-sku-name: Standard_LRS");
    answer_header(session, "x-ms-account-kind: StorageV2");
    answer_header(session, "x-ms-is-hns-enabled: false");
    return answer_empty(session);
  }
  if (request->container[0] && request_query_is(request, "restype", "container")) {
    if (is_read && request_query_is(request, "comp", "list")) return list_blobs(session);
    if (is_read || strcmp(request->method, "PUT") == 0) {
      answer_begin(session, is_read ? "200 OK" : "201 Created");
      answer_header(session, "ETag: \"0x8DD000000000000\"");
      answer_time(session, "Last-Modified", 1767225600);
      if (is_read) {
        answer_header(session, "x-ms-lease-status: unlocked");
        answer_header(session, "x-ms-lease-state: available");
        answer_header(session, "x-ms-has-immutability-policy: false");
        answer_header(session, "x-ms-has-legal-hold: false");
      }
      return answer_empty(session);
    }
  }
  return answer_error(session, "400 Bad Request", "UnsupportedHere");
}
