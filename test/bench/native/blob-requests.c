// Get Blob, Get Blob Properties, Put Blob, Put Block, Put Block List, Delete Blob, as the REST reference of Azure Blob
// Storage has them, and metadata and tags that nobody reads. session.c calls it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pattern.h"
#include "session.h"
#include "uploads.h"

#define LIST_BYTES (8 * 1024 * 1024)
#define MODIFIED 1767225600 // 2026-01-01, of every blob: content of a version never changes

// Whether If-Match and If-None-Match allow the request; the blob is NULL when there is none.
static bool is_allowed(const struct request *request, const struct blob *blob) {
  char wanted[64], etag[32] = "";
  if (blob) snprintf(etag, sizeof etag, "\"0x%llX\"", (unsigned long long)blob->etag);
  if (http_header(request->head, "If-Match", wanted, sizeof wanted)) {
    if (!blob) return false;
    bool is_bare = wanted[0] != '"'; // AzCopy leaves the quotes out
    if (strcmp(wanted, "*") != 0 && strncmp(wanted, etag + is_bare, strlen(etag) - 2u * is_bare) != 0) return false;
  }
  if (http_header(request->head, "If-None-Match", wanted, sizeof wanted))
    return !blob || (strcmp(wanted, "*") != 0 && strcmp(wanted, etag) != 0);
  return true;
}

// Reads "bytes=A-B" or "bytes=A-". False: there is no range, or none that is understood.
static bool range_of(const struct request *request, uint64_t size, uint64_t *start, uint64_t *end) {
  char text[64];
  if (!http_header(request->head, "x-ms-range", text, sizeof text) &&
      !http_header(request->head, "Range", text, sizeof text))
    return false;
  unsigned long long from, to = UINT64_MAX - 1;
  if (sscanf(text, "bytes=%llu-%llu", &from, &to) < 1 || to < from) return false;
  *start = from;
  *end = to >= size ? size : to + 1;
  return true;
}

static bool send_content(struct session *session, uint64_t start, uint64_t end) {
  const struct blob *blob = &session->blob;
  totals.bytes_out += end - start;
  if (blob->bytes) return answer_end(session, end - start, blob->bytes + start, (size_t)(end - start));
  uint32_t phase = (uint32_t)(((uint64_t)blob->phase + start) % PATTERN_BYTES);
  uint64_t n = end - start < PATTERN_BYTES ? end - start : PATTERN_BYTES;
  if (!answer_end(session, end - start, pattern_at(phase), (size_t)n)) return false;
  for (uint64_t at = start + n; at < end; at += n) {
    phase = (uint32_t)((phase + n) % PATTERN_BYTES);
    n = end - at < PATTERN_BYTES ? end - at : PATTERN_BYTES;
    if (!conn_write(&session->conn, pattern_at(phase), (size_t)n)) return false;
  }
  return true;
}

static void describe(struct session *session) {
  const struct blob *blob = &session->blob;
  answer_header(session, "ETag: \"0x%llX\"", (unsigned long long)blob->etag);
  answer_time(session, "Last-Modified", MODIFIED);
  answer_time(session, "x-ms-creation-time", MODIFIED);
  answer_header(session, "Content-Type: application/octet-stream");
  answer_header(session, "Accept-Ranges: bytes");
  answer_header(session, "x-ms-blob-type: BlockBlob");
  answer_header(session, "x-ms-access-tier: Hot");
  answer_header(session, "x-ms-access-tier-inferred: true");
  answer_header(session, "x-ms-lease-status: unlocked");
  answer_header(session, "x-ms-lease-state: available");
  answer_header(session, "x-ms-server-encrypted: true");
  // Whole lines; the last CRLF comes from answer_header.
  size_t length = strlen(blob->meta);
  if (length > 2) answer_header(session, "%.*s", (int)length - 2, blob->meta);
}

static bool get_blob(struct session *session, bool is_head) {
  const struct request *request = &session->request;
  const struct blob *blob = &session->blob;
  if (!blobs_find(request->blob, &session->blob)) return answer_error(session, "404 Not Found", "BlobNotFound");
  if (!is_allowed(request, blob)) return answer_error(session, "412 Precondition Failed", "ConditionNotMet");
  if (!is_head && !blob->bytes && blob->phase < 0)
    return answer_error(session, "409 Conflict", "ContentOfUploadIsNotKept");
  uint64_t start = 0, end = blob->size;
  bool is_range = !is_head && range_of(request, blob->size, &start, &end);
  if (is_range && start >= blob->size) {
    return answer_error(session, "416 The range specified is invalid", "InvalidRange");
  }
  answer_begin(session, is_range ? "206 Partial Content" : "200 OK");
  describe(session);
  if (is_head) return answer_end(session, blob->size, NULL, 0);
  if (is_range)
    answer_header(session, "Content-Range: bytes %llu-%llu/%llu", (unsigned long long)start,
                  (unsigned long long)end - 1, (unsigned long long)blob->size);
  return send_content(session, start, end);
}

// Reads the body and judges it, without keeping it unless it is small and not the pattern.
static bool receive(struct session *session, struct content *content) {
  unsigned char *scratch = session->scratch;
  uint64_t left = session->request.body_bytes;
  size_t n = left < KEPT_BYTES ? (size_t)left : KEPT_BYTES;
  *content = (struct content){.size = left, .phase = -1};
  if (!http_read_all(&session->in, scratch, n)) return false;
  if (n >= PATTERN_KEY_BYTES) content->phase = pattern_find(scratch);
  bool is_same = content->phase >= 0 && pattern_equals(scratch, n, (uint32_t)content->phase);
  content->damaged = content->phase >= 0 && !is_same;
  left -= n;
  if (left == 0 && !is_same) {
    content->bytes = malloc(n + 1);
    if (!content->bytes) return false;
    memcpy(content->bytes, scratch, n);
  }
  for (uint64_t at = n; left > 0; at += n, left -= n) {
    size_t most = left < SCRATCH_BYTES ? (size_t)left : SCRATCH_BYTES;
    ssize_t got = is_verifying ? http_read(&session->in, scratch, most) : http_discard(&session->in, scratch, most);
    if (got <= 0) return false;
    n = (size_t)got;
    if (!is_verifying || !is_same) continue;
    is_same = pattern_equals(scratch, n, (uint32_t)((content->phase + at) % PATTERN_BYTES));
    content->damaged = !is_same;
  }
  content->compared = is_same && (is_verifying || content->size <= KEPT_BYTES);
  session->request.body_bytes = UINT64_MAX; // it has been read
  return true;
}

// The request's metadata as header lines.
static void metadata_of(const struct request *request, char into[META_BYTES]) {
  size_t used = 0;
  into[0] = '\0';
  for (const char *line = strstr(request->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
    const char *at = line + 2;
    size_t length = strcspn(at, "\r") + 2;
    if (strncasecmp(at, "x-ms-meta-", 10) != 0 || used + length >= META_BYTES) continue;
    memcpy(into + used, at, length);
    used += length;
    into[used] = '\0';
  }
}

static bool answer_created(struct session *session, uint64_t etag) {
  answer_begin(session, "201 Created");
  answer_header(session, "ETag: \"0x%llX\"", (unsigned long long)etag);
  answer_time(session, "Last-Modified", MODIFIED);
  answer_header(session, "x-ms-request-server-encrypted: true");
  return answer_empty(session);
}

// Whether the conditions allow to write; answers the refusal otherwise.
static bool may_write(struct session *session) {
  bool is_there = blobs_find(session->request.blob, &session->blob);
  bool is_fine = is_allowed(&session->request, is_there ? &session->blob : NULL);
  if (is_there) blobs_release(&session->blob);
  return is_fine;
}

static bool put_blob(struct session *session) {
  struct content content;
  char meta[META_BYTES];
  metadata_of(&session->request, meta);
  if (!receive(session, &content)) return false;
  if (may_write(session)) return answer_created(session, uploads_put(session->request.blob, &content, meta));
  free(content.bytes);
  return answer_error(session, "412 Precondition Failed", "ConditionNotMet");
}

static bool put_block(struct session *session) {
  struct content content;
  char id[256];
  if (!request_query(&session->request, "blockid", id, sizeof id))
    return answer_error(session, "400 Bad Request", "InvalidQueryParameterValue");
  if (!receive(session, &content)) return false;
  uploads_stage(session->request.blob, id, &content);
  answer_begin(session, "201 Created");
  answer_header(session, "x-ms-request-server-encrypted: true");
  return answer_empty(session);
}

// Cuts the ids out of <Latest>…</Latest> and the like, in place. Answers how many there are.
static size_t ids_of(char *list, char **ids, size_t most) {
  size_t count = 0;
  static const char *const tags[] = {"<Latest>", "<Uncommitted>", "<Committed>"};
  for (char *at = strchr(list, '<'); at && count < most; at = strchr(at, '<')) {
    size_t skip = 1;
    for (size_t tag = 0; tag < 3; tag += 1) {
      if (strncmp(at, tags[tag], strlen(tags[tag])) == 0) skip = strlen(tags[tag]);
    }
    at += skip;
    if (skip == 1) continue;
    ids[count++] = at;
    at = strchr(at, '<');
    if (!at) break;
    *at++ = '\0';
  }
  return count;
}

static bool put_block_list(struct session *session) {
  size_t length = session->request.body_bytes;
  if (length > LIST_BYTES) return answer_error(session, "413 Request Entity Too Large", "RequestBodyTooLarge");
  char meta[META_BYTES];
  uint64_t etag;
  char *list = malloc(length + 1);
  char **ids = malloc((length / 8 + 1) * sizeof *ids);
  bool is_alive = list && ids && http_read_all(&session->in, list, length);
  if (is_alive) {
    session->request.body_bytes = UINT64_MAX;
    list[length] = '\0';
    metadata_of(&session->request, meta);
    size_t count = ids_of(list, ids, length / 8 + 1);
    if (!may_write(session)) is_alive = answer_error(session, "412 Precondition Failed", "ConditionNotMet");
    else if (!uploads_commit(session->request.blob, ids, count, meta, &etag))
      is_alive = answer_error(session, "400 Bad Request", "InvalidBlockList");
    else is_alive = answer_created(session, etag);
  }
  free(ids);
  free(list);
  return is_alive;
}

static bool delete_blob(struct session *session) {
  if (!blobs_delete(session->request.blob)) return answer_error(session, "404 Not Found", "BlobNotFound");
  answer_begin(session, "202 Accepted");
  return answer_empty(session);
}

bool blob_request(struct session *session) {
  const struct request *request = &session->request;
  char comp[32] = "";
  request_query(request, "comp", comp, sizeof comp);
  const char *method = request->method;
  session->blob.upload = NULL;
  if ((strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) && (!comp[0] || !strcmp(comp, "metadata"))) {
    bool is_alive = get_blob(session, method[0] == 'H');
    blobs_release(&session->blob);
    return is_alive;
  }
  if (strcmp(method, "PUT") == 0) {
    if (!comp[0]) return put_blob(session);
    if (strcmp(comp, "block") == 0) return put_block(session);
    if (strcmp(comp, "blocklist") == 0) return put_block_list(session);
  }
  if (strcmp(method, "DELETE") == 0 && !comp[0]) return delete_blob(session);
  return answer_error(session, "400 Bad Request", "UnsupportedHere");
}
