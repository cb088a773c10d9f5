/*
 * The content of files. A small file's is in memory; one that grows gets a backing file in the work directory,
 * whose descriptor is kept while somebody has the file open.
 */
#include "sim.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t next_object = 1;

static void object_path(const struct object *object, char *path, size_t size)
{
	snprintf(path, size, "%s/objects/%02x/%llx", sim.work_dir, (unsigned)(object->id & 0xff),
		 (unsigned long long)object->id);
}

static struct object *object_new(struct inode *inode)
{
	struct object *object = xalloc(sizeof(*object));

	object->fd = -1;
	object->owner = inode;
	inode->object = object;
	return object;
}

/* Makes the backing file, with what was in memory. */
static int make_file(struct object *object, uint64_t size)
{
	size_t length = object->room < size ? object->room : size;
	char path[PATH_MAX];
	int error;

	object->id = next_object++;
	object_path(object, path, sizeof(path));
	object->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOATIME, 0600);
	if (object->fd >= 0 && (!length || pwrite(object->fd, object->memory, length, 0) == (ssize_t)length) &&
	    ftruncate(object->fd, (off_t)size) == 0) {
		free(object->memory);
		object->memory = NULL;
		object->room = 0;
		return 0;
	}
	error = errno ? errno : ENOSPC;
	if (object->fd >= 0) {
		close(object->fd);
		unlink(path);
	}
	object->fd = -1;
	object->id = 0;
	return error;
}

int object_open(struct inode *inode, struct object **out)
{
	struct object *object = inode->object ? inode->object : object_new(inode);
	char path[PATH_MAX];
	int error;

	if (!object->id) {
		error = make_file(object, inode->size);
		if (error)
			return error;
	} else if (object->fd < 0) {
		object_path(object, path, sizeof(path));
		object->fd = open(path, O_RDWR | O_CLOEXEC | O_NOATIME);
		if (object->fd < 0)
			return errno;
	}
	object->users++;
	*out = object;
	return 0;
}

static int64_t blocks_of_file(const struct object *object)
{
	struct stat st;

	return object->fd >= 0 && fstat(object->fd, &st) == 0 ? st.st_blocks : object->blocks;
}

static void object_rest(struct object *object)
{
	char path[PATH_MAX];

	if (object->users)
		return;
	if (object->doomed) {
		if (object->fd >= 0)
			close(object->fd);
		if (object->id) {
			object_path(object, path, sizeof(path));
			unlink(path);
		}
		free(object->memory);
		free(object);
		return;
	}
	if (object->fd >= 0 && object->owner->opens == 0) {
		object->blocks = blocks_of_file(object);
		close(object->fd);
		object->fd = -1;
	}
}

void object_close(struct object *object)
{
	object->users--;
	object_rest(object);
}

void object_drop(struct inode *inode)
{
	struct object *object = inode->object;

	inode->object = NULL;
	if (!object)
		return;
	object->doomed = true;
	object_rest(object);
}

void object_idle(struct inode *inode)
{
	if (inode->object)
		object_rest(inode->object);
}

int64_t content_blocks(const struct inode *inode)
{
	if (!inode->object)
		return 0;
	if (inode->object->id)
		return blocks_of_file(inode->object);
	return (int64_t)((inode->size + 4095) / 4096 * 8);
}

bool content_is_small(const struct inode *inode, uint64_t end)
{
	return end <= SMALL_LIMIT && inode->size <= SMALL_LIMIT && (!inode->object || !inode->object->id);
}

char *small_content(struct inode *inode, uint64_t end)
{
	struct object *object = inode->object ? inode->object : object_new(inode);

	if (end > object->room) {
		size_t room = end < SMALL_LIMIT / 2 ? end : SMALL_LIMIT;

		object->memory = xgrow(object->memory, room);
		memset(object->memory + object->room, 0, room - object->room);
		object->room = room;
	}
	return object->memory;
}

void small_read(const struct inode *inode, uint64_t off, size_t size, char *out)
{
	const struct object *object = inode->object;
	size_t there = object && off < object->room ? object->room - off : 0;

	if (there > size)
		there = size;
	if (there)
		memcpy(out, object->memory + off, there);
	memset(out + there, 0, size - there);
}

int inode_truncate(struct inode *inode, uint64_t size)
{
	struct object *object = inode->object;
	int error = 0;

	if (content_is_small(inode, size)) {
		/* What lies behind the end stays zero. */
		if (object && size < object->room)
			memset(object->memory + size, 0, object->room - size);
	} else {
		error = object_open(inode, &object);
		if (error)
			return error;
		if (ftruncate(object->fd, (off_t)size) < 0)
			error = errno;
		object_close(object);
		if (error)
			return error;
	}
	inode->size = size;
	inode_changed(inode);
	return 0;
}
