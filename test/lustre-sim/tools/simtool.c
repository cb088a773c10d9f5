/*
 * simtool: a copytool that does what it is told. It loads the liblustreapi given as its argument, the simulated or
 * the real one, reads commands on standard input, one a line, and answers each with one line of JSON. The
 * simulator's own tests drive it; it is also the naive copytool for benches (`serve`).
 */
#include "simtool.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ITEMS_MAX 65536

struct api api;
struct hsm_copytool_private *copytool;
const char *copytool_mount = ".";

/* An item that was received, and the handle begun for it. */
static struct {
	struct hsm_action_item *item;
	struct hsm_copyaction_private *handle;
	struct hsm_copyaction_private *stale; /* the handle as it was before its end */
} items[ITEMS_MAX];
static int item_count;
static struct hsm_action_list *last_list;

static void load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	struct {
		void **slot;
		const char *name;
	} symbols[] = {
#define SYMBOL(field, name) { (void **)&api.field, name },
		API_SYMBOLS(SYMBOL)
#undef SYMBOL
	};

	if (!library) {
		fprintf(stderr, "simtool: %s\n", dlerror());
		exit(1);
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].slot = dlsym(library, symbols[i].name);
		if (!*symbols[i].slot) {
			fprintf(stderr, "simtool: %s\n", dlerror());
			exit(1);
		}
	}
}

static void answer(int rc)
{
	printf("{\"rc\":%d}\n", rc);
}

static void print_fid(const char *name, const struct lu_fid *fid)
{
	printf(",\"%s\":\"[0x%llx:0x%x:0x%x]\"", name, (unsigned long long)fid->f_seq, fid->f_oid, fid->f_ver);
}

static void print_hex(const char *name, const void *data, size_t size)
{
	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)data)[i]);
	printf("\"");
}

bool parse_fid(const char *text, struct lu_fid *fid)
{
	unsigned long long seq;

	if (sscanf(text, "[0x%llx:0x%x:0x%x]", &seq, &fid->f_oid, &fid->f_ver) != 3)
		return false;
	fid->f_seq = seq;
	return true;
}

static int keep_item(const struct hsm_action_item *item)
{
	size_t size = item->hai_len < sizeof(*item) ? sizeof(*item) : item->hai_len;

	if (item_count == ITEMS_MAX)
		return -1;
	items[item_count].item = calloc(1, size);
	memcpy(items[item_count].item, item, size);
	return item_count++;
}

static void print_item(const struct hsm_action_item *item, int index)
{
	printf("{\"index\":%d,\"len\":%u,\"action\":%u,\"cookie\":\"0x%llx\",\"offset\":\"0x%llx\",\"length\":\"0x%llx\","
	       "\"gid\":%llu",
	       index, item->hai_len, item->hai_action, (unsigned long long)item->hai_cookie,
	       (unsigned long long)item->hai_extent.offset, (unsigned long long)item->hai_extent.length,
	       (unsigned long long)item->hai_gid);
	print_fid("fid", &item->hai_fid);
	print_fid("dfid", &item->hai_dfid);
	print_hex("data", item->hai_data, item->hai_len - sizeof(*item));
	print_hex("bytes", item, item->hai_len);
	printf("}");
}

/* Waits so long for the pipe, then receives; rc -110 when nothing came. */
static void do_recv(int timeout_ms)
{
	struct pollfd wait = { .fd = api.get_copytool_fd(copytool), .events = POLLIN };
	int size = 0, rc = -ETIMEDOUT;

	if (poll(&wait, 1, timeout_ms) > 0)
		rc = api.recv(copytool, &last_list, &size);
	printf("{\"rc\":%d", rc);
	if (rc == 0) {
		struct hsm_action_item *item;

		printf(",\"size\":%d", size);
		print_hex("raw", last_list, (size_t)size);
		if (size >= (int)sizeof(*last_list) && last_list->hal_version == 1 && last_list->hal_count < 100000) {
			item = first_item(last_list);
			printf(",\"version\":%u,\"flags\":%llu,\"archive\":%u,\"fsname\":\"%s\",\"items\":[",
			       last_list->hal_version, (unsigned long long)last_list->hal_flags,
			       last_list->hal_archive_id, last_list->hal_fsname);
			for (uint32_t i = 0; i < last_list->hal_count; i++, item = next_item(item)) {
				if ((char *)(item + 1) > (char *)last_list + size)
					break;
				if (i)
					printf(",");
				print_item(item, keep_item(item));
			}
			printf("]");
		}
	}
	printf("}\n");
}

static void do_register(char **words)
{
	int archives[64], count = 0;
	bool blocking = words[1] && strcmp(words[1], "block") == 0;

	while (words[1] && words[2 + count] && count < 64) {
		archives[count] = atoi(words[2 + count]);
		count++;
	}
	copytool_mount = strdup(words[0] ? words[0] : "");
	answer(api.do_register(&copytool, copytool_mount, count, archives, blocking ? 0 : O_NONBLOCK));
}

static struct hsm_extent extent_of(uint64_t length)
{
	return (struct hsm_extent){ 0, length };
}

static void do_begin(int index, const char *how, const char *flags)
{
	bool is_error = how && strcmp(how, "error") == 0;
	int mdt = how && !is_error ? atoi(how) : -1;

	answer(api.begin(&items[index].handle, copytool, items[index].item, mdt, flags ? atoi(flags) : 0, is_error));
}

static void do_end(int index, int errval, const char *retry)
{
	struct hsm_extent extent = extent_of(items[index].item->hai_extent.length);

	items[index].stale = items[index].handle;
	answer(api.end(&items[index].handle, &extent, retry ? HP_FLAG_RETRY : 0, errval));
}

static void do_read(int fd, int size)
{
	char *data = calloc(1, (size_t)size + 1);
	ssize_t got = pread(fd, data, (size_t)size, 0);

	printf("{\"rc\":%zd", got < 0 ? -(ssize_t)errno : got);
	if (got > 0)
		print_hex("data", data, (size_t)got);
	printf("}\n");
	free(data);
}

static void do_write(int fd, const char *hex, const char *offset)
{
	size_t size = strlen(hex) / 2;
	unsigned char *data = calloc(1, size + 1);
	ssize_t got;

	for (size_t i = 0; i < size; i++) {
		unsigned byte;

		sscanf(hex + 2 * i, "%2x", &byte);
		data[i] = (unsigned char)byte;
	}
	got = pwrite(fd, data, size, offset ? atoll(offset) : 0);
	answer(got < 0 ? -errno : (int)got);
	free(data);
}

static void do_item(const char *hex)
{
	size_t size = strlen(hex) / 2;
	unsigned char *data = calloc(1, size + sizeof(struct hsm_action_item));
	unsigned byte;

	for (size_t i = 0; i < size && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		data[i] = (unsigned char)byte;
	printf("{\"rc\":0,\"index\":%d}\n", keep_item((struct hsm_action_item *)data));
	free(data);
}

static void do_request(char **words)
{
	int count = 0, data_len;
	struct hsm_user_request *request;
	const char *data = words[4] && strcmp(words[4], "-") != 0 ? words[4] : "";

	data_len = (int)strlen(data);
	while (words[4] && words[5 + count])
		count++;
	request = api.request_alloc(count, data_len);
	request->hur_request.hr_action = (uint32_t)atoi(words[1]);
	request->hur_request.hr_archive_id = (uint32_t)atoi(words[2]);
	request->hur_request.hr_flags = (uint64_t)atoi(words[3]);
	request->hur_request.hr_itemcount = (uint32_t)count;
	request->hur_request.hr_data_len = (uint32_t)data_len;
	for (int i = 0; i < count; i++) {
		parse_fid(words[5 + i], &request->hur_user_item[i].hui_fid);
		request->hur_user_item[i].hui_extent = extent_of(UINT64_MAX);
	}
	memcpy(&request->hur_user_item[count], data, (size_t)data_len);
	answer(api.request(words[0], request));
	free(request);
}

static void do_import(char **words)
{
	struct stat st = { .st_size = atoll(words[2]),
			   .st_mode = (mode_t)strtoul(words[3], NULL, 8),
			   .st_uid = (uid_t)atoi(words[4]),
			   .st_gid = (gid_t)atoi(words[5]),
			   .st_atim = { atoll(words[6]), 0 },
			   .st_mtim = { atoll(words[6]), atol(words[7]) } };
	struct lu_fid fid = { 0 };
	int rc = api.import(words[0], atoi(words[1]), &st, 0, -1, 0, 0, NULL, &fid);

	printf("{\"rc\":%d", rc);
	print_fid("fid", &fid);
	printf("}\n");
}

static void do_state(const char *path)
{
	struct hsm_user_state state = { 0 };
	int rc = api.state_get(path, &state);

	printf("{\"rc\":%d,\"states\":%u,\"archive\":%u,\"progress\":%u,\"action\":%u}\n", rc, state.hus_states,
	       state.hus_archive_id, state.hus_in_progress_state, state.hus_in_progress_action);
}

static void do_fid2path(char **words)
{
	char path[4096] = "";
	long long recno = -1;
	int linkno = words[2] ? atoi(words[2]) : 0;
	int rc = api.fid2path(words[0], words[1], path, sizeof(path), &recno, &linkno);

	printf("{\"rc\":%d,\"path\":\"%s\",\"linkno\":%d}\n", rc, path, linkno);
}

static void do_fid_command(const char *command, char **words)
{
	struct lu_fid fid = { 0 };
	int rc = 0, index = -1, fd;

	if (strcmp(command, "path2fid") == 0) {
		rc = api.path2fid(words[0], &fid);
	} else if (strcmp(command, "fd2fid") == 0) {
		rc = api.fd2fid(atoi(words[0]), &fid);
	} else if (strcmp(command, "get_dfid") == 0) {
		rc = api.get_dfid(items[atoi(words[0])].handle, &fid);
	} else if (strcmp(command, "open_fid") == 0) {
		parse_fid(words[1], &fid);
		rc = api.open_by_fid(words[0], &fid, O_RDONLY);
	} else {
		parse_fid(words[1], &fid);
		fd = open(words[0], O_RDONLY | O_DIRECTORY);
		rc = api.mdt_index(fd, &fid, &index);
		close(fd);
	}
	printf("{\"rc\":%d,\"mdt\":%d", rc, index);
	print_fid("fid", &fid);
	printf("}\n");
}

static void do_data_version(const char *path)
{
	uint64_t version = 0;
	int fd = open(path, O_RDONLY), rc = fd < 0 ? -errno : api.data_version(fd, &version, 0);

	if (fd >= 0)
		close(fd);
	printf("{\"rc\":%d,\"version\":\"%llu\"}\n", rc, (unsigned long long)version);
}

static void do_fsname(const char *path)
{
	char name[64] = "";
	int rc = api.fsname(path, name);

	printf("{\"rc\":%d,\"fsname\":\"%s\"}\n", rc, name);
}

static void do_action(const char *path)
{
	struct hsm_current_action current = { 0 };
	int rc = api.current_action(path, &current);

	printf("{\"rc\":%d,\"state\":%u,\"action\":%u,\"length\":\"0x%llx\"}\n", rc, current.hca_state,
	       current.hca_action, (unsigned long long)current.hca_location.length);
}

/* A child that keeps the pipe's read end, as one does that was started without close-on-exec. */
static void do_fork(void)
{
	pid_t child = fork();

	if (child == 0) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		for (;;)
			pause();
	}
	printf("{\"rc\":%d}\n", (int)child);
}

/* A read of the buffer of the list before last: must not go unnoticed. */
static void do_use_old_list(const struct hsm_action_list *old)
{
	printf("{\"rc\":%u}\n", ((const volatile struct hsm_action_list *)old)->hal_count);
}

static void run(char **words)
{
	static struct hsm_action_list *kept;
	const char *command = *words++;
	int index = words[0] ? atoi(words[0]) : 0;
	struct hsm_extent extent;

	if (strcmp(command, "register") == 0) {
		do_register(words);
	} else if (strcmp(command, "unregister") == 0) {
		answer(api.unregister(&copytool));
	} else if (strcmp(command, "recv") == 0) {
		do_recv(words[0] ? index : 0);
	} else if (strcmp(command, "recv_now") == 0) {
		int size;

		answer(api.recv(copytool, &last_list, &size));
	} else if (strcmp(command, "item") == 0) {
		do_item(words[0]);
	} else if (strcmp(command, "begin") == 0) {
		do_begin(index, words[1], words[1] ? words[2] : NULL);
	} else if (strcmp(command, "progress") == 0) {
		extent = extent_of((uint64_t)atoll(words[1]));
		answer(api.progress(items[index].handle, &extent, 0, 0));
	} else if (strcmp(command, "end") == 0) {
		do_end(index, atoi(words[1]), words[2]);
	} else if (strcmp(command, "end_stale") == 0) {
		items[index].handle = items[index].stale;
		do_end(index, 0, NULL);
	} else if (strcmp(command, "progress_stale") == 0) {
		extent = extent_of(1);
		answer(api.progress(items[index].stale, &extent, 0, 0));
	} else if (strcmp(command, "get_fd") == 0) {
		answer(api.get_fd(items[index].handle));
	} else if (strcmp(command, "read") == 0) {
		do_read(index, words[1] ? atoi(words[1]) : 4096);
	} else if (strcmp(command, "write") == 0) {
		do_write(index, words[1], words[2]);
	} else if (strcmp(command, "truncate") == 0) {
		answer(ftruncate(index, atoll(words[1])) < 0 ? -errno : 0);
	} else if (strcmp(command, "close") == 0) {
		answer(close(index) < 0 ? -errno : 0);
	} else if (strcmp(command, "request") == 0) {
		do_request(words);
	} else if (strcmp(command, "import") == 0) {
		do_import(words);
	} else if (strcmp(command, "state") == 0) {
		do_state(words[0]);
	} else if (strcmp(command, "state_set") == 0) {
		answer(api.state_set(words[0], strtoul(words[1], NULL, 0), strtoul(words[2], NULL, 0),
				     (uint32_t)atoi(words[3])));
	} else if (strcmp(command, "current_action") == 0) {
		do_action(words[0]);
	} else if (strcmp(command, "fid2path") == 0) {
		do_fid2path(words);
	} else if (strcmp(command, "data_version") == 0) {
		do_data_version(words[0]);
	} else if (strcmp(command, "fsname") == 0) {
		do_fsname(words[0]);
	} else if (strcmp(command, "msg_level") == 0) {
		api.msg_level(index);
		answer(0);
	} else if (strcmp(command, "fork") == 0) {
		do_fork();
	} else if (strcmp(command, "keep_list") == 0) {
		kept = last_list;
		answer(0);
	} else if (strcmp(command, "use_kept_list") == 0) {
		do_use_old_list(kept);
	} else if (strcmp(command, "setuid") == 0) {
		answer(setuid((uid_t)index) < 0 ? -errno : 0);
	} else if (strcmp(command, "serve") == 0) {
		serve(words[0], words[1] ? atoi(words[1]) : 4);
		answer(0);
	} else if (strcmp(command, "served") == 0) {
		print_served();
	} else if (strcmp(command, "import_many") == 0) {
		import_many(words[0], atoi(words[1]), atoi(words[2]));
	} else if (strcmp(command, "read_many") == 0) {
		read_many(words[0], words[1], atoi(words[2]), atoi(words[3]));
	} else {
		do_fid_command(command, words);
	}
}

int main(int argc, char **argv)
{
	char *line = NULL, *words[4096], *rest;
	size_t room = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: simtool LIBRARY\n");
		return 2;
	}
	load(argv[1]);
	api.msg_level(LLAPI_MSG_OFF);
	while (getline(&line, &room, stdin) > 0) {
		int count = 0;

		rest = line;
		while (count < 4095 && (words[count] = strtok_r(rest, " \n", &rest)))
			count++;
		words[count] = NULL;
		words[count + 1] = NULL;
		if (count)
			run(words);
		fflush(stdout);
	}
	return 0;
}
