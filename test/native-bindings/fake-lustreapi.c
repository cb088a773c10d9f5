/*
 * A library with liblustreapi's names for the binding's own tests: it holds no file system, it writes down what it
 * was called with, fails when told to, and counts every misuse (a handle used after its end, or by two threads at
 * once, a list read after the next recv). The fake_* functions are the test's side of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOOL_MAGIC 0x70011001u
#define ACTION_MAGIC 0xac710001u
#define LIST_MAX (1 << 20)

struct fid {
	uint64_t seq;
	uint32_t oid;
	uint32_t ver;
};

struct tool {
	uint32_t magic;
	int fds[2];
	char *list;
};

struct action {
	uint32_t magic;
	int busy;
	struct tool *tool;
	struct fid fid;
	int data; /* the descriptor that get_fd gave last */
};

struct message {
	struct message *next;
	int error;
	int length;
	char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct message *first, **last = &first;
static int pipe_read = -1, pipe_write = -1;
static char called[4096];
static int misuses, inflight, most_inflight, delay_us, main_thread_calls;
static struct {
	char name[64];
	int error;
	int times;
} failure;

static void note(const char *text)
{
	pthread_mutex_lock(&lock);
	snprintf(called, sizeof(called), "%s", text);
	pthread_mutex_unlock(&lock);
}

#define NOTE(...)                                                                                                      \
	do {                                                                                                           \
		char text_[4096];                                                                                      \
		snprintf(text_, sizeof(text_), __VA_ARGS__);                                                           \
		note(text_);                                                                                           \
	} while (0)

static void misuse(void)
{
	__atomic_add_fetch(&misuses, 1, __ATOMIC_SEQ_CST);
}

/* A call to the MDT: takes a while, and fails when told to. */
static int mdt(const char *name)
{
	int now = __atomic_add_fetch(&inflight, 1, __ATOMIC_SEQ_CST);
	int rc = 0;

	if (syscall(SYS_gettid) == getpid())
		__atomic_add_fetch(&main_thread_calls, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&lock);
	if (now > most_inflight)
		most_inflight = now;
	if (failure.times > 0 && strcmp(failure.name, name) == 0) {
		failure.times--;
		rc = -failure.error;
	}
	pthread_mutex_unlock(&lock);
	if (delay_us > 0)
		usleep(delay_us);
	__atomic_sub_fetch(&inflight, 1, __ATOMIC_SEQ_CST);
	return rc;
}

/* The test's side. */

void fake_push(const char *bytes, int length, int error)
{
	struct message *message = malloc(sizeof(*message) + length);

	message->next = NULL;
	message->error = error;
	message->length = length;
	memcpy(message->bytes, bytes, length);
	pthread_mutex_lock(&lock);
	*last = message;
	last = &message->next;
	pthread_mutex_unlock(&lock);
	if (write(pipe_write, "!", 1) != 1)
		abort();
}

void fake_fail(const char *name, int error, int times)
{
	pthread_mutex_lock(&lock);
	snprintf(failure.name, sizeof(failure.name), "%s", name);
	failure.error = error;
	failure.times = times;
	pthread_mutex_unlock(&lock);
}

void fake_called(char *text, int size)
{
	pthread_mutex_lock(&lock);
	snprintf(text, size, "%s", called);
	pthread_mutex_unlock(&lock);
}

void fake_delay(int us)
{
	delay_us = us;
}

/* As the kernel does when it drops the registration. */
void fake_hang_up(void)
{
	dup2(pipe_read, pipe_write);
}

int fake_pipe(void)
{
	return pipe_read;
}

int fake_misuses(void)
{
	return misuses;
}

int fake_most_inflight(void)
{
	return most_inflight;
}

int fake_main_thread_calls(void)
{
	return main_thread_calls;
}

/* Fails with the errno that it is given: what reading errno is tested with. */
int fake_errno(int error)
{
	errno = error;
	return error == 0 ? 0 : -1;
}

uint64_t fake_u64(uint64_t a, int64_t b, uint32_t c, int32_t d)
{
	return a + (uint64_t)b + c + (uint64_t)(int64_t)d;
}

/* liblustreapi's side. */

void llapi_msg_set_level(int level)
{
	NOTE("level=%d", level);
}

int llapi_hsm_copytool_register(struct tool **out, const char *mount, int count, int *ids, int flags)
{
	struct tool *tool;
	char text[1024];
	int rc = mdt("llapi_hsm_copytool_register"), n, i;

	n = snprintf(text, sizeof(text), "mount=%s flags=%o ids=", mount, flags);
	for (i = 0; i < count; i++)
		n += snprintf(text + n, sizeof(text) - n, "%d,", ids[i]);
	note(text);
	if (rc < 0)
		return rc;
	tool = calloc(1, sizeof(*tool));
	tool->magic = TOOL_MAGIC;
	tool->list = calloc(1, LIST_MAX);
	if (pipe2(tool->fds, flags) < 0)
		abort();
	pipe_read = tool->fds[0];
	pipe_write = tool->fds[1];
	*out = tool;
	return 0;
}

int llapi_hsm_copytool_unregister(struct tool **out)
{
	struct tool *tool = *out;
	int rc = mdt("llapi_hsm_copytool_unregister");

	if (tool == NULL || tool->magic != TOOL_MAGIC) {
		misuse();
		return -EINVAL;
	}
	tool->magic = 0; /* kept, so that a later use is seen */
	close(tool->fds[0]);
	close(tool->fds[1]);
	memset(tool->list, 0xaa, LIST_MAX);
	*out = NULL;
	return rc;
}

int llapi_hsm_copytool_get_fd(struct tool *tool)
{
	return tool->magic == TOOL_MAGIC ? tool->fds[0] : -EINVAL;
}

int llapi_hsm_copytool_recv(struct tool *tool, char **list, int *size)
{
	struct message *message;
	char byte;
	int rc;

	if (tool->magic != TOOL_MAGIC) {
		misuse();
		return -EINVAL;
	}
	errno = EAGAIN; /* what older libraries answer at the end of the pipe, too */
	if (read(tool->fds[0], &byte, 1) != 1)
		return -errno;
	pthread_mutex_lock(&lock);
	message = first;
	first = message->next;
	if (first == NULL)
		last = &first;
	pthread_mutex_unlock(&lock);
	memset(tool->list, 0xaa, LIST_MAX);
	memcpy(tool->list, message->bytes, message->length);
	*list = tool->list;
	*size = message->length;
	rc = -message->error;
	free(message);
	return rc;
}

int llapi_hsm_action_begin(struct action **out, struct tool *tool, const char *item, int mdt_index, int flags,
			   bool is_error)
{
	struct action *action;
	uint32_t length;
	int rc = mdt("llapi_hsm_action_begin");

	if (tool->magic != TOOL_MAGIC)
		misuse();
	memcpy(&length, item, sizeof(length));
	NOTE("len=%u mdt=%d flags=%o error=%d", length, mdt_index, flags, is_error);
	if (rc < 0)
		return rc;
	action = calloc(1, sizeof(*action));
	action->magic = ACTION_MAGIC;
	action->tool = tool;
	action->data = -1;
	memcpy(&action->fid, item + 24, sizeof(action->fid));
	*out = action;
	return 0;
}

static bool enter(struct action *action)
{
	if (action == NULL || action->magic != ACTION_MAGIC || action->tool->magic != TOOL_MAGIC ||
	    __atomic_exchange_n(&action->busy, 1, __ATOMIC_SEQ_CST)) {
		misuse();
		return false;
	}
	return true;
}

int llapi_hsm_action_end(struct action **out, const uint64_t *extent, int flags, int error)
{
	struct action *action = *out;
	int rc;

	if (!enter(action))
		return -EINVAL;
	rc = mdt("llapi_hsm_action_end");
	NOTE("extent=%llx+%llx flags=%d error=%d data=%s", (unsigned long long)extent[0], (unsigned long long)extent[1],
	     flags, error, action->data < 0 ? "none" : fcntl(action->data, F_GETFD) < 0 ? "closed" : "open");
	action->magic = 0; /* kept, so that a later use is seen */
	*out = NULL;
	return rc;
}

int llapi_hsm_action_progress(struct action *action, const uint64_t *extent, uint64_t total, int flags)
{
	int rc;

	if (!enter(action))
		return -EINVAL;
	rc = mdt("llapi_hsm_action_progress");
	NOTE("extent=%llx+%llx total=%llx flags=%d", (unsigned long long)extent[0], (unsigned long long)extent[1],
	     (unsigned long long)total, flags);
	__atomic_store_n(&action->busy, 0, __ATOMIC_SEQ_CST);
	return rc;
}

int llapi_hsm_action_get_dfid(const struct action *action, struct fid *fid)
{
	if (action->magic != ACTION_MAGIC) {
		misuse();
		return -EINVAL;
	}
	*fid = action->fid;
	return 0;
}

int llapi_hsm_action_get_fd(struct action *action)
{
	int rc = mdt("llapi_hsm_action_get_fd");

	if (action->magic != ACTION_MAGIC) {
		misuse();
		return -EINVAL;
	}
	if (rc < 0)
		return rc;
	action->data = open("/dev/null", O_RDWR);
	return action->data;
}

int llapi_hsm_import(const char *path, int archive, const struct stat *st, unsigned long long stripe_size,
		     int stripe_offset, int stripe_count, int stripe_pattern, char *pool, struct fid *fid)
{
	NOTE("path=%s archive=%d mode=%o uid=%u gid=%u size=%lld atime=%lld.%09ld mtime=%lld.%09ld stripe=%llu,%d,%d,%d "
	     "pool=%s",
	     path, archive, st->st_mode, st->st_uid, st->st_gid, (long long)st->st_size, (long long)st->st_atim.tv_sec,
	     st->st_atim.tv_nsec, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, stripe_size, stripe_offset,
	     stripe_count, stripe_pattern, pool ? pool : "none");
	*fid = (struct fid){0xfedcba9876543210, 0xffffffff, 7};
	return mdt("llapi_hsm_import");
}

static int state_get(uint32_t *state)
{
	uint32_t words[8] = {0x8000000d, 4, 1, 21, 0xffffffff, 1, 0xfffffffe, 0xffffffff};

	memcpy(state, words, sizeof(words));
	return mdt("llapi_hsm_state_get");
}

int llapi_hsm_state_get(const char *path, uint32_t *state)
{
	NOTE("path=%s", path);
	return state_get(state);
}

int llapi_hsm_state_get_fd(int fd, uint32_t *state)
{
	NOTE("fd=%d", fd);
	return state_get(state);
}

int llapi_hsm_state_set(const char *path, uint64_t set, uint64_t clear, uint32_t archive)
{
	NOTE("path=%s set=%llx clear=%llx archive=%u", path, (unsigned long long)set, (unsigned long long)clear,
	     archive);
	return mdt("llapi_hsm_state_set");
}

int llapi_hsm_state_set_fd(int fd, uint64_t set, uint64_t clear, uint32_t archive)
{
	NOTE("fd=%d set=%llx clear=%llx archive=%u", fd, (unsigned long long)set, (unsigned long long)clear, archive);
	return mdt("llapi_hsm_state_set_fd");
}

int llapi_hsm_current_action(const char *path, uint32_t *action)
{
	uint32_t words[6] = {2, 11, 1, 2, 3, 4};

	NOTE("path=%s", path);
	memcpy(action, words, sizeof(words));
	return mdt("llapi_hsm_current_action");
}

void *llapi_hsm_user_request_alloc(int items, int data)
{
	return items > 1000 ? NULL : calloc(1, 24 + 32 * items + data);
}

int llapi_hsm_request(const char *path, const uint32_t *request)
{
	const char *data = (const char *)request + 24 + 32 * request[4];
	struct fid fid;

	memcpy(&fid, (const char *)request + 24 + 32 * (request[4] - 1), sizeof(fid));
	NOTE("path=%s action=%u archive=%u flags=%u items=%u last=%llx:%x:%x data=%.*s", path, request[0], request[1],
	     request[2], request[4], (unsigned long long)fid.seq, fid.oid, fid.ver, request[5], data);
	return mdt("llapi_hsm_request");
}

int llapi_fid2path(const char *mount, const char *fid, char *path, int size, long long *recno, int *linkno)
{
	NOTE("mount=%s fid=%s size=%d recno=%lld", mount, fid, size, *recno);
	snprintf(path, size, "/d\xff/link%d", *linkno);
	return mdt("llapi_fid2path");
}

int llapi_path2fid(const char *path, struct fid *fid)
{
	NOTE("path=%s", path);
	*fid = (struct fid){1, 2, 3};
	return mdt("llapi_path2fid");
}

int llapi_fd2fid(int fd, struct fid *fid)
{
	NOTE("fd=%d", fd);
	*fid = (struct fid){4, 5, 6};
	return mdt("llapi_fd2fid");
}

int llapi_open_by_fid(const char *mount, const struct fid *fid, int flags)
{
	int rc = mdt("llapi_open_by_fid");

	NOTE("mount=%s fid=%llx:%x:%x", mount, (unsigned long long)fid->seq, fid->oid, fid->ver);
	return rc < 0 ? rc : open("/dev/null", flags);
}

int llapi_get_mdt_index_by_fid(int fd, const struct fid *fid, int *index)
{
	NOTE("fd=%d fid=%llx:%x:%x", fd, (unsigned long long)fid->seq, fid->oid, fid->ver);
	*index = 3;
	/* Releases before 2.15 return the index, too. */
	return mdt("llapi_get_mdt_index_by_fid") < 0 ? -EINVAL : 3;
}

int llapi_get_data_version(int fd, uint64_t *version, uint64_t flags)
{
	NOTE("fd=%d flags=%llu", fd, (unsigned long long)flags);
	*version = 0xfffffffffffffff0;
	return mdt("llapi_get_data_version");
}

int llapi_search_fsname(const char *path, char *name)
{
	if (strcmp(path, "/mnt/lustre") != 0)
		return -ENODEV;
	strcpy(name, "lustre");
	return 0;
}
