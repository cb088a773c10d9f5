/*
 * The file system's operations on extended attributes, and statfs.
 */
#include "sim.h"
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct statvfs st;

	(void)node;
	if (statvfs(sim.work_dir, &st) != 0) {
		fuse_reply_err(req, errno);
		return;
	}
	st.f_namemax = NAME_LIMIT;
	lock();
	if (tunables.enospc_after >= 0) {
		uint64_t left = (uint64_t)tunables.enospc_after / st.f_frsize;

		st.f_bfree = st.f_bavail = left < st.f_bavail ? left : st.f_bavail;
	}
	unlock();
	fuse_reply_statfs(req, &st);
}

static void reply_value(fuse_req_t req, const char *value, size_t value_size, size_t room)
{
	if (room == 0)
		fuse_reply_xattr(req, value_size);
	else if (value_size > room)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, value_size);
}

/* Two calls of the library are reads of an attribute. */
static const char *call_behind(const char *name)
{
	if (strcmp(name, SIM_XATTR_FID) == 0)
		return "path2fid";
	return strcmp(name, SIM_XATTR_FSNAME) == 0 ? "search_fsname" : "getxattr";
}

void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t room)
{
	struct inode *inode;
	struct lu_fid fid;
	const char *value = NULL;
	char *copy = NULL;
	size_t size = 0;
	int error = op_fault(call_behind(name), node);

	if (!error) {
		lock();
		inode = inode_by_node(node);
		if (!inode) {
			error = ENOENT;
		} else if (strcmp(name, SIM_XATTR_FID) == 0) {
			fid = inode_fid(inode);
			value = (const char *)&fid;
			size = sizeof(fid);
		} else if (strcmp(name, SIM_XATTR_SOCKET) == 0) {
			value = sim.socket_path;
			size = strlen(value);
		} else if (strcmp(name, SIM_XATTR_FSNAME) == 0) {
			value = sim.fsname;
			size = strlen(value);
		} else if (strncmp(name, "system.", 7) == 0) {
			error = EOPNOTSUPP;
		} else {
			error = xattr_get(inode, name, &value, &size);
		}
		if (!error)
			copy = memcpy(xalloc(size), value, size);
		unlock();
	}
	if (error)
		fuse_reply_err(req, error);
	else
		reply_value(req, copy, size, room);
	free(copy);
}

void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t room)
{
	bool root = fuse_req_ctx(req)->uid == 0;
	struct inode *inode;
	struct text names = { 0 };
	int error = 0;

	lock();
	inode = inode_by_node(node);
	if (!inode)
		error = ENOENT;
	else
		for (struct xattr *x = inode->xattrs; x; x = x->next)
			if (root || strncmp(x->name, "trusted.", 8) != 0)
				text_add(&names, "%s%c", x->name, '\0');
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		reply_value(req, names.data, names.length, room);
	text_free(&names);
}

void op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size,
			int flags)
{
	struct inode *inode;
	int error = op_fault("setxattr", node);

	if (!error && (strncmp(name, "system.", 7) == 0 || strncmp(name, "lustre.", 7) == 0))
		error = EOPNOTSUPP;
	lock();
	inode = inode_by_node(node);
	if (!error)
		error = inode ? xattr_set(inode, name, value, size, flags) : ENOENT;
	unlock();
	fuse_reply_err(req, error);
}

void op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct inode *inode;
	int error = op_fault("removexattr", node);

	lock();
	inode = inode_by_node(node);
	if (!error)
		error = inode ? xattr_remove(inode, name) : ENOENT;
	unlock();
	fuse_reply_err(req, error);
}
