/*
 * simtool's own copytool: one thread receives, several copy between the file system and plain files in a
 * directory. For stress and for the simulator's own speed. Also many imports and many readers at once.
 */
#include "simtool.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct job {
	struct job *next;
	struct hsm_action_item item;
};

static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t jobs_more = PTHREAD_COND_INITIALIZER;
static struct job *jobs, **jobs_end = &jobs;
static const char *archive;
static atomic_ulong done_ok, done_failed;

static int copy(int from, int to)
{
	static const size_t step = 1 << 20;
	char *buffer = malloc(step);
	off_t off = 0;
	ssize_t got;
	int rc = 0;

	while ((got = pread(from, buffer, step, off)) > 0 && rc == 0) {
		if (pwrite(to, buffer, (size_t)got, off) != got)
			rc = errno ? errno : EIO;
		off += got;
	}
	if (got < 0)
		rc = errno;
	free(buffer);
	return rc;
}

static int transfer(struct hsm_copyaction_private *handle, const struct hsm_action_item *item)
{
	struct hsm_extent extent = { 0, 1 };
	char path[512];
	int fd, other, rc;

	snprintf(path, sizeof(path), "%s/%llx-%x", archive, (unsigned long long)item->hai_fid.f_seq,
		 item->hai_fid.f_oid);
	if (item->hai_action == HSMA_REMOVE)
		return unlink(path) == 0 ? 0 : errno;
	fd = api.get_fd(handle);
	if (fd < 0)
		return -fd;
	other = item->hai_action == HSMA_ARCHIVE ? open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) : open(path, O_RDONLY);
	rc = other < 0 ? errno : item->hai_action == HSMA_ARCHIVE ? copy(fd, other) : copy(other, fd);
	if (rc == 0)
		api.progress(handle, &extent, 0, 0);
	if (other >= 0)
		close(other);
	close(fd);
	return rc;
}

static void act(struct hsm_action_item *item)
{
	struct hsm_copyaction_private *handle = NULL;
	int rc = 0, error;

	if (item->hai_action == HSMA_CANCEL)
		return; /* every action here is short: its own end answers */
	error = api.begin(&handle, copytool, item, -1, 0, false);
	if (error == 0)
		rc = transfer(handle, item);
	else if (api.begin(&handle, copytool, item, -1, 0, true) != 0)
		return;
	else
		rc = -error;
	error = api.end(&handle, &item->hai_extent, 0, rc);
	atomic_fetch_add(rc || error ? &done_failed : &done_ok, 1);
}

static void *worker(void *unused)
{
	struct job *job;

	(void)unused;
	for (;;) {
		pthread_mutex_lock(&jobs_lock);
		while (!jobs)
			pthread_cond_wait(&jobs_more, &jobs_lock);
		job = jobs;
		jobs = job->next;
		if (!jobs)
			jobs_end = &jobs;
		pthread_mutex_unlock(&jobs_lock);
		act(&job->item);
		free(job);
	}
	return NULL;
}

static void *receiver(void *unused)
{
	struct pollfd wait = { .fd = api.get_copytool_fd(copytool), .events = POLLIN };
	struct hsm_action_list *list;
	int size, rc;

	(void)unused;
	while (poll(&wait, 1, -1) >= 0) {
		struct hsm_action_item *item;

		rc = api.recv(copytool, &list, &size);
		if (rc == -EAGAIN)
			continue;
		if (rc)
			break;
		item = first_item(list);
		pthread_mutex_lock(&jobs_lock);
		for (uint32_t i = 0; i < list->hal_count; i++, item = next_item(item)) {
			struct job *job = calloc(1, sizeof(*job));

			job->item = *item;
			*jobs_end = job;
			jobs_end = &job->next;
		}
		pthread_cond_broadcast(&jobs_more);
		pthread_mutex_unlock(&jobs_lock);
	}
	return NULL;
}

void serve(const char *archive_dir, int threads)
{
	pthread_t thread;

	archive = strdup(archive_dir);
	pthread_create(&thread, NULL, receiver, NULL);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread, NULL, worker, NULL);
}

void print_served(void)
{
	printf("{\"rc\":0,\"ok\":%lu,\"failed\":%lu}\n", atomic_load(&done_ok), atomic_load(&done_failed));
}

struct range {
	pthread_t thread;
	const char *dir, *prefix;
	int first, count, failed;
};

static void *import_range(void *argument)
{
	struct range *range = argument;
	struct stat st = { .st_size = 1000, .st_mode = 0644, .st_uid = 1, .st_gid = 2 };
	char path[512];

	for (int i = range->first; i < range->first + range->count; i++) {
		snprintf(path, sizeof(path), "%s/stub%d", range->dir, i);
		range->failed += api.import(path, 1, &st, 0, -1, 0, 0, NULL, NULL) != 0;
	}
	return NULL;
}

static void *read_range(void *argument)
{
	struct range *range = argument;
	char path[512], data[65536];

	for (int i = range->first; i < range->first + range->count; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%s%d", range->dir, range->prefix, i);
		fd = open(path, O_RDONLY);
		range->failed += fd < 0 || read(fd, data, sizeof(data)) <= 0;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static void in_ranges(const char *dir, const char *prefix, int count, int threads, void *(*work)(void *))
{
	struct range *ranges = calloc((size_t)threads, sizeof(*ranges));
	struct timespec from, to;
	int failed = 0;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < threads; i++) {
		int first = (int)((long)count * i / threads);

		ranges[i] = (struct range){ .dir = dir, .prefix = prefix, .first = first,
					    .count = (int)((long)count * (i + 1) / threads) - first };
		pthread_create(&ranges[i].thread, NULL, work, &ranges[i]);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(ranges[i].thread, NULL);
		failed += ranges[i].failed;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("{\"rc\":%d,\"seconds\":%.3f}\n", failed,
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	free(ranges);
}

void import_many(const char *dir, int count, int threads)
{
	in_ranges(dir, "", count, threads, import_range);
}

void read_many(const char *dir, const char *prefix, int count, int threads)
{
	in_ranges(dir, prefix, count, threads, read_range);
}
