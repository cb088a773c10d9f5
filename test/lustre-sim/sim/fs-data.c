/*
 * The file system's operations on content: open, read, write, truncate, holes. The first of them that needs the
 * content of a released file asks for a restore and waits; open itself does not.
 */
#include "sim.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_LIMIT (128u << 10) /* smaller reads are cheaper copied than spliced */

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct handle *handle = NULL;
	struct inode *inode;
	int error = op_fault("open", node);

	lock();
	inode = inode_by_node(node);
	if (!error && !inode)
		error = ENOENT;
	if (!error) {
		handle = xalloc(sizeof(*handle));
		handle->inode = inode;
		handle->flags = fi->flags;
		if (inode->volatile_unopened)
			inode->volatile_unopened = false;
		else
			inode->opens++;
	}
	unlock();
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	fi->fh = (uintptr_t)handle;
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) != 0)
		op_release(NULL, node, fi);
}

void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct handle *handle = handle_of(fi);
	struct inode *inode = handle->inode;

	(void)node;
	lock();
	if (--inode->opens == 0) {
		object_idle(inode);
		inode_put_if_unused(inode);
	}
	events_changed();
	unlock();
	free(handle);
	if (req)
		fuse_reply_err(req, 0);
}

static bool is_released(const struct inode *inode)
{
	return inode->hsm_flags & HS_RELEASED;
}

/* Waits for the restore of *wait's inode, or answers when none can be had. Lock held; dropped at the return. */
static void wait_for_restore(struct blocked *wait)
{
	if (hsm_restore_for(wait->inode) == 0) {
		block_until_restored(wait);
		return;
	}
	unlock();
	fuse_reply_err(wait->req, ENODATA);
	blocked_free(wait);
}

static void touch_atime(struct inode *inode, const struct handle *handle)
{
	struct timespec now = now_ts();

	if (handle->flags & O_NOATIME)
		return;
	/* As relatime does: once after each change, and once a day. */
	if (inode->atime.tv_sec < inode->mtime.tv_sec || inode->atime.tv_sec < inode->ctime.tv_sec ||
	    (inode->atime.tv_sec == inode->mtime.tv_sec && inode->atime.tv_nsec <= inode->mtime.tv_nsec) ||
	    (inode->atime.tv_sec == inode->ctime.tv_sec && inode->atime.tv_nsec <= inode->ctime.tv_nsec) ||
	    now.tv_sec - inode->atime.tv_sec >= 86400)
		inode->atime = now;
}

static void reply_content(fuse_req_t req, struct object *object, uint64_t off, size_t size)
{
	if (size <= COPY_LIMIT) {
		char *data = xalloc(size);
		ssize_t got = pread(object->fd, data, size, (off_t)off);

		if (got < 0)
			fuse_reply_err(req, errno);
		else
			fuse_reply_buf(req, data, (size_t)got);
		free(data);
	} else {
		struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);

		out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
		out.buf[0].fd = object->fd;
		out.buf[0].pos = (off_t)off;
		fuse_reply_data(req, &out, FUSE_BUF_SPLICE_MOVE);
	}
}

static void read_content(fuse_req_t req, struct handle *handle, uint64_t off, size_t size)
{
	struct inode *inode = handle->inode;
	struct object *object = NULL;
	char *small = NULL;
	int error = 0;

	lock();
	if (is_released(inode)) {
		struct blocked *wait = xalloc(sizeof(*wait));

		*wait = (struct blocked){ .req = req, .inode = inode, .kind = BLOCKED_READ, .handle = handle,
					  .offset = off, .size = size };
		wait_for_restore(wait);
		return;
	}
	if (off >= inode->size)
		size = 0;
	else if (size > inode->size - off)
		size = inode->size - off;
	touch_atime(inode, handle);
	if (size && !content_is_small(inode, 0)) {
		error = object_open(inode, &object);
	} else if (size) {
		small = xalloc(size);
		small_read(inode, off, size, small);
	}
	unlock();
	if (error) {
		fuse_reply_err(req, error);
	} else if (!object) {
		fuse_reply_buf(req, small, size);
		free(small);
	} else {
		reply_content(req, object, off, size);
		lock();
		object_close(object);
		unlock();
	}
}

void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	int error = op_fault("read", node);

	if (error)
		fuse_reply_err(req, error);
	else
		read_content(req, handle_of(fi), (uint64_t)off, size);
}

static int after_end(const struct inode *inode, const char *what)
{
	struct lu_fid fid = inode_fid(inode);

	if (inode->volatile_state != VOLATILE_ENDED)
		return 0;
	violation("%s of volatile file " FID_FORMAT " after the end of its restore", what, FID_ARGS(fid));
	return EIO;
}

static int take_space(const struct inode *inode, size_t size)
{
	if (tunables.enospc_after >= 0) {
		if ((int64_t)size > tunables.enospc_after)
			return ENOSPC;
		tunables.enospc_after -= (int64_t)size;
	}
	if (tunables.edquot_after >= 0 && inode->uid == tunables.edquot_uid) {
		if ((int64_t)size > tunables.edquot_after)
			return EDQUOT;
		tunables.edquot_after -= (int64_t)size;
	}
	return 0;
}

/* The kernel's buffer is good for the time of the call only: copied when the write has to wait. */
static void write_later(fuse_req_t req, struct handle *handle, struct fuse_bufvec *in, uint64_t off, size_t size)
{
	struct blocked *wait = xalloc(sizeof(*wait));
	struct fuse_bufvec copy = FUSE_BUFVEC_INIT(size);
	ssize_t got;

	*wait = (struct blocked){ .req = req, .inode = handle->inode, .kind = BLOCKED_WRITE, .handle = handle,
				  .offset = off, .data = xalloc(size) };
	copy.buf[0].mem = wait->data;
	got = fuse_buf_copy(&copy, in, 0);
	wait->size = got > 0 ? (uint64_t)got : 0;
	wait_for_restore(wait);
}

/* Into memory, under the lock. */
static ssize_t write_small(struct inode *inode, struct fuse_bufvec *in, uint64_t off, size_t size)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);

	out.buf[0].mem = small_content(inode, off + size) + off;
	return fuse_buf_copy(&out, in, 0);
}

/* Into the backing file; the lock is dropped meanwhile. */
static ssize_t write_file(struct inode *inode, struct fuse_bufvec *in, uint64_t off, size_t size)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
	struct object *object;
	ssize_t written;
	int error = object_open(inode, &object);

	if (error)
		return -error;
	out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	out.buf[0].fd = object->fd;
	out.buf[0].pos = (off_t)off;
	inode_changed(inode); /* here, too: a version taken while the bytes move is never the last one */
	unlock();
	written = fuse_buf_copy(&out, in, 0);
	lock();
	object_close(object);
	return written;
}

static void write_content(fuse_req_t req, struct handle *handle, struct fuse_bufvec *in, uint64_t off)
{
	size_t size = fuse_buf_size(in);
	struct inode *inode = handle->inode;
	ssize_t written;
	int error;

	lock();
	if (is_released(inode)) {
		write_later(req, handle, in, off, size);
		return;
	}
	error = after_end(inode, "write");
	if (!error)
		error = take_space(inode, size);
	if (error) {
		unlock();
		fuse_reply_err(req, error);
		return;
	}
	if (handle->flags & O_APPEND)
		off = inode->size;
	if (content_is_small(inode, off + size)) {
		written = write_small(inode, in, off, size);
	} else {
		if (handle->flags & O_APPEND)
			inode->size += size; /* taken, before another appender comes */
		written = write_file(inode, in, off, size);
	}
	if (written > 0 && off + (uint64_t)written > inode->size)
		inode->size = off + (uint64_t)written;
	inode_changed(inode);
	unlock();
	if (written < 0)
		fuse_reply_err(req, (int)-written);
	else
		fuse_reply_write(req, (size_t)written);
}

void op_write_buf(fuse_req_t req, fuse_ino_t node, struct fuse_bufvec *in, off_t off, struct fuse_file_info *fi)
{
	int error = op_fault("write", node);

	if (error)
		fuse_reply_err(req, error);
	else
		write_content(req, handle_of(fi), in, (uint64_t)off);
}

static void apply_attributes(struct inode *inode, const struct stat *attr, int to_set)
{
	struct timespec now = now_ts();

	if (to_set & FUSE_SET_ATTR_MODE)
		inode->mode = (inode->mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		inode->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		inode->gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_ATIME)
		inode->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME)
		inode->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : attr->st_mtim;
	inode->ctime = now;
}

static void set_attributes(fuse_req_t req, struct inode *inode, const struct stat *attr, int to_set,
			   struct handle *handle)
{
	struct stat st;
	double timeout = 0;
	int error = 0;

	if ((to_set & FUSE_SET_ATTR_SIZE) && is_released(inode)) {
		struct blocked *wait = xalloc(sizeof(*wait));

		*wait = (struct blocked){ .req = req, .inode = inode, .kind = BLOCKED_SETATTR, .handle = handle,
					  .mode = to_set, .attr = *attr };
		if (!handle)
			inode->opens++;
		wait_for_restore(wait);
		return;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		error = after_end(inode, "truncate");
		if (!error)
			error = inode_truncate(inode, (uint64_t)attr->st_size);
	}
	if (!error) {
		apply_attributes(inode, attr, to_set);
		inode_stat(inode, &st);
		timeout = attr_timeout(inode);
	}
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, timeout);
}

void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct inode *inode;
	int error = op_fault(to_set & FUSE_SET_ATTR_SIZE ? "truncate" : "setattr", node);

	lock();
	inode = inode_by_node(node);
	if (!error && !inode)
		error = ENOENT;
	if (error) {
		unlock();
		fuse_reply_err(req, error);
		return;
	}
	set_attributes(req, inode, attr, to_set, handle_of(fi));
}

static void allocate(fuse_req_t req, struct handle *handle, int mode, uint64_t off, uint64_t length)
{
	struct inode *inode = handle->inode;
	struct object *object;
	struct stat st;
	int error;

	lock();
	if (is_released(inode)) {
		struct blocked *wait = xalloc(sizeof(*wait));

		*wait = (struct blocked){ .req = req, .inode = inode, .kind = BLOCKED_FALLOCATE,
					  .handle = handle, .mode = mode, .offset = off, .size = length };
		wait_for_restore(wait);
		return;
	}
	error = after_end(inode, "fallocate");
	if (!error)
		error = object_open(inode, &object);
	if (!error) {
		if (fallocate(object->fd, mode, (off_t)off, (off_t)length) != 0)
			error = errno;
		else if (fstat(object->fd, &st) == 0)
			inode->size = (uint64_t)st.st_size;
		inode_changed(inode);
		object_close(object);
	}
	unlock();
	fuse_reply_err(req, error);
}

void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t length, struct fuse_file_info *fi)
{
	int error = op_fault("fallocate", node);

	if (error)
		fuse_reply_err(req, error);
	else
		allocate(req, handle_of(fi), mode, (uint64_t)off, (uint64_t)length);
}

void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi)
{
	struct inode *inode = handle_of(fi)->inode;
	struct object *object;
	off_t found = -1;
	int error = op_fault("lseek", node);

	lock();
	if (!error && (uint64_t)off >= inode->size) {
		error = ENXIO;
	} else if (!error && is_released(inode)) {
		/* One run of data, as far as anybody can tell without a restore. */
		found = whence == SEEK_DATA ? off : (off_t)inode->size;
	} else if (!error && content_is_small(inode, 0)) {
		found = whence == SEEK_DATA ? off : (off_t)inode->size;
		if (!inode->object) { /* never written: one hole */
			found = off;
			error = whence == SEEK_DATA ? ENXIO : 0;
		}
	} else if (!error) {
		error = object_open(inode, &object);
		if (!error) {
			found = lseek(object->fd, off, whence);
			if (found < 0)
				error = errno;
			object_close(object);
		}
	}
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_lseek(req, found);
}

/* Nothing here outlives the process, so there is nothing to write to a disk. */
void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, op_fault("fsync", node));
}

/* The restore is there: does what was asked. It may find the file released again, and wait again. */
void resume_data(struct blocked *wait)
{
	struct fuse_bufvec in = FUSE_BUFVEC_INIT(wait->size);

	switch (wait->kind) {
	case BLOCKED_READ:
		read_content(wait->req, wait->handle, wait->offset, wait->size);
		break;
	case BLOCKED_WRITE:
		in.buf[0].mem = wait->data;
		write_content(wait->req, wait->handle, &in, wait->offset);
		break;
	case BLOCKED_FALLOCATE:
		allocate(wait->req, wait->handle, wait->mode, wait->offset, wait->size);
		break;
	case BLOCKED_SETATTR:
		lock();
		set_attributes(wait->req, wait->inode, &wait->attr, wait->mode, wait->handle);
		break;
	}
	blocked_free(wait);
}
