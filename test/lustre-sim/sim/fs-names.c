/*
 * The file system's operations on names: lookup, directories, links. The table of all operations is here, too.
 * .lustre and .lustre/fid are there without being listed.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/*
 * With several mounts each kernel inode must ask every time, or one mount would not see what another did. With
 * one mount all changes pass through the one kernel, which may then remember directories.
 */
double attr_timeout(const struct inode *inode)
{
	if (inode->number == LUSTRE_DIR_NUMBER || inode->number == FID_DIR_NUMBER)
		return 3600;
	return S_ISDIR(inode->mode) && sim.mount_count == 1 ? 1 : 0;
}

/*
 * What a name is looked up for, a stat or the permission to open, is answered with it: llite sends one intent, and has the
 * attributes with a lock. FUSE would ask once more each time. Names are not remembered, so whoever comes by a path has what is true now.
 */
#define INTENT_S 0.001

void fill_entry(struct inode *inode, bool alias, struct fuse_entry_param *entry)
{
	double timeout = alias ? 0 : attr_timeout(inode);

	*entry = (struct fuse_entry_param){ .ino = alias ? inode->number | ALIAS_NODE : inode->number,
					    .generation = 1 };
	inode_stat(inode, &entry->attr);
	entry->entry_timeout = timeout;
	entry->attr_timeout = timeout > INTENT_S ? timeout : INTENT_S;
}

int op_fault(const char *name, fuse_ino_t node)
{
	uint32_t delay_ms = 0;
	struct lu_fid fid = { 0 };
	struct inode *inode;
	int error;

	if (!faults_armed)
		return 0;
	lock();
	inode = inode_by_node(node);
	if (inode)
		fid = inode_fid(inode);
	error = fault_check(name, inode ? &fid : NULL, 0, &delay_ms);
	unlock();
	if (delay_ms) {
		struct timespec pause = { delay_ms / 1000, (long)(delay_ms % 1000) * 1000000 };

		nanosleep(&pause, NULL);
	}
	return error;
}

static bool is_special(const struct inode *inode)
{
	return inode->number == LUSTRE_DIR_NUMBER || inode->number == FID_DIR_NUMBER;
}

/* The directory in which a name is to be made or removed, or an errno. */
static int parent_of(fuse_ino_t node, const char *name, struct inode **parent)
{
	*parent = inode_by_node(node);
	if (!*parent)
		return ENOENT;
	if (strlen(name) > NAME_LIMIT)
		return ENAMETOOLONG;
	if (is_special(*parent) || ((*parent)->number == ROOT_NUMBER && strcmp(name, ".lustre") == 0))
		return EPERM;
	return 0;
}

static struct inode *find_child(const struct inode *parent, const char *name, bool *alias)
{
	struct dentry *dentry;
	struct lu_fid fid;

	*alias = false;
	if (parent->number == ROOT_NUMBER && strcmp(name, ".lustre") == 0)
		return inode_by_number(LUSTRE_DIR_NUMBER);
	if (parent->number == LUSTRE_DIR_NUMBER)
		return strcmp(name, "fid") == 0 ? inode_by_number(FID_DIR_NUMBER) : NULL;
	if (parent->number == FID_DIR_NUMBER) {
		*alias = true;
		return fid_parse(name, &fid) ? inode_by_fid(&fid) : NULL;
	}
	dentry = dentry_find(parent, name);
	return dentry ? dentry->child : NULL;
}

static void op_lookup(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct fuse_entry_param entry;
	struct inode *parent, *child = NULL;
	bool alias;
	int error = op_fault("lookup", node);

	if (!error) {
		lock();
		parent = inode_by_node(node);
		if (parent)
			child = find_child(parent, name, &alias);
		if (child)
			fill_entry(child, alias, &entry);
		else
			error = strlen(name) > NAME_LIMIT ? ENAMETOOLONG : ENOENT;
		unlock();
	}
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_entry(req, &entry);
}

static void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
	(void)node;
	(void)count;
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct inode *inode;
	struct stat st;
	double timeout = 0;
	int error = op_fault("getattr", node);

	(void)fi;
	if (!error) {
		lock();
		inode = inode_by_node(node);
		if (inode) {
			inode_stat(inode, &st);
			timeout = node & ALIAS_NODE ? 0 : attr_timeout(inode);
		} else {
			error = ENOENT;
		}
		unlock();
	}
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, timeout);
}

/* Makes an inode with a name, under the lock. */
static int make(fuse_req_t req, struct inode *parent, const char *name, mode_t mode, struct inode **made)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	gid_t gid = who->gid;

	if (dentry_find(parent, name))
		return EEXIST;
	if (!parent->names && parent->number != ROOT_NUMBER)
		return ENOENT; /* the directory was removed */
	if (parent->mode & S_ISGID) {
		gid = parent->gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	*made = inode_new(mode, who->uid, gid);
	dentry_add(parent, name, *made);
	return 0;
}

static void make_and_reply(fuse_req_t req, fuse_ino_t node, const char *name, mode_t mode, dev_t rdev,
			   const char *target)
{
	struct fuse_entry_param entry;
	struct inode *parent, *made;
	int error = op_fault("create", node);

	if (!error) {
		lock();
		error = parent_of(node, name, &parent);
		if (!error)
			error = make(req, parent, name, mode, &made);
		if (!error) {
			made->rdev = rdev;
			if (target) {
				made->target = xdup(target);
				made->size = strlen(target);
			}
			fill_entry(made, false, &entry);
		}
		unlock();
	}
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_entry(req, &entry);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make_and_reply(req, parent, name, mode, rdev, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make_and_reply(req, parent, name, S_IFDIR | mode, 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make_and_reply(req, parent, name, S_IFLNK | 0777, 0, target);
}

void op_create(fuse_req_t req, fuse_ino_t node, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	struct handle *handle;
	struct inode *parent, *made;
	int error = op_fault("create", node);

	if (!error) {
		lock();
		error = parent_of(node, name, &parent);
		if (!error)
			error = make(req, parent, name, S_IFREG | (mode & 07777), &made);
		if (!error) {
			handle = xalloc(sizeof(*handle));
			handle->inode = made;
			handle->flags = fi->flags;
			made->opens++;
			fill_entry(made, false, &entry);
		}
		unlock();
	}
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	fi->fh = (uintptr_t)handle;
	fi->direct_io = 1;
	if (fuse_reply_create(req, &entry, fi) != 0)
		op_release(NULL, entry.ino, fi);
}

static void op_readlink(fuse_req_t req, fuse_ino_t node)
{
	struct inode *inode;
	char *target = NULL;

	lock();
	inode = inode_by_node(node);
	if (inode && inode->target)
		target = xdup(inode->target);
	unlock();
	if (target)
		fuse_reply_readlink(req, target);
	else
		fuse_reply_err(req, ENOENT);
	free(target);
}

/* Takes one name away, and the inode with its last one. */
static void drop_name(struct dentry *dentry)
{
	struct inode *child = dentry->child;

	if (!S_ISDIR(child->mode) && child->nlink == 1)
		hsm_last_unlink(child);
	dentry_remove(dentry);
	inode_put_if_unused(child);
}

static void op_unlink(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct inode *parent;
	struct dentry *dentry;
	int error = op_fault("unlink", node);

	lock();
	if (!error)
		error = parent_of(node, name, &parent);
	if (!error) {
		dentry = dentry_find(parent, name);
		if (!dentry)
			error = ENOENT;
		else if (S_ISDIR(dentry->child->mode))
			error = EISDIR;
		else
			drop_name(dentry);
	}
	unlock();
	fuse_reply_err(req, error);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct inode *parent;
	struct dentry *dentry;
	int error;

	lock();
	error = parent_of(node, name, &parent);
	if (!error) {
		dentry = dentry_find(parent, name);
		if (!dentry)
			error = ENOENT;
		else if (!S_ISDIR(dentry->child->mode))
			error = ENOTDIR;
		else if (dentry->child->entries)
			error = ENOTEMPTY;
		else
			drop_name(dentry);
	}
	unlock();
	fuse_reply_err(req, error);
}

static bool is_inside(const struct inode *directory, const struct inode *ancestor)
{
	while (directory && directory != ancestor)
		directory = directory->names ? directory->names->parent : NULL;
	return directory == ancestor;
}

static int rename_over(struct dentry *from, struct inode *to_parent, const char *to_name, struct dentry *to)
{
	struct inode *child = from->child;

	if (to && to->child == child)
		return 0; /* two names of one file: POSIX says do nothing */
	if (S_ISDIR(child->mode) && is_inside(to_parent, child))
		return EINVAL;
	if (to) {
		if (S_ISDIR(to->child->mode) && !S_ISDIR(child->mode))
			return EISDIR;
		if (!S_ISDIR(to->child->mode) && S_ISDIR(child->mode))
			return ENOTDIR;
		if (S_ISDIR(to->child->mode) && to->child->entries)
			return ENOTEMPTY;
		drop_name(to);
	}
	dentry_add(to_parent, to_name, child);
	dentry_remove(from);
	return 0;
}

static int rename_exchange(struct dentry *from, struct dentry *to)
{
	struct inode *from_parent = from->parent, *to_parent = to->parent, *a = from->child, *b = to->child;
	char *from_name, *to_name;

	if (is_inside(to_parent, a) || is_inside(from_parent, b))
		return EINVAL;
	from_name = xdup(from->name);
	to_name = xdup(to->name);
	dentry_remove(from);
	dentry_remove(to);
	dentry_add(to_parent, to_name, a);
	dentry_add(from_parent, from_name, b);
	free(from_name);
	free(to_name);
	return 0;
}

static void op_rename(fuse_req_t req, fuse_ino_t from_node, const char *from_name, fuse_ino_t to_node,
		      const char *to_name, unsigned flags)
{
	struct inode *from_parent, *to_parent;
	struct dentry *from, *to;
	int error = op_fault("rename", from_node);

	lock();
	if (!error)
		error = parent_of(from_node, from_name, &from_parent);
	if (!error)
		error = parent_of(to_node, to_name, &to_parent);
	if (!error) {
		from = dentry_find(from_parent, from_name);
		to = dentry_find(to_parent, to_name);
		if (!from || (!to && (flags & RENAME_EXCHANGE)))
			error = ENOENT;
		else if (to && (flags & RENAME_NOREPLACE))
			error = EEXIST;
		else if (flags & RENAME_EXCHANGE)
			error = rename_exchange(from, to);
		else
			error = rename_over(from, to_parent, to_name, to);
	}
	unlock();
	fuse_reply_err(req, error);
}

static void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent_node, const char *name)
{
	struct fuse_entry_param entry;
	struct inode *inode, *parent;
	int error;

	lock();
	inode = inode_by_node(node);
	error = inode ? parent_of(parent_node, name, &parent) : ENOENT;
	if (!error && dentry_find(parent, name))
		error = EEXIST;
	if (!error) {
		dentry_add(parent, name, inode);
		fill_entry(inode, node & ALIAS_NODE, &entry);
	}
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_entry(req, &entry);
}

static size_t add_entry(fuse_req_t req, char *buffer, size_t room, const char *name, const struct inode *inode,
			uint64_t offset)
{
	struct lu_fid fid = inode_fid(inode);
	struct stat st = { .st_ino = fid.f_seq << 24 ^ fid.f_oid, .st_mode = inode->mode };

	return fuse_add_direntry(req, buffer, room, name, &st, (off_t)offset);
}

static void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	char *buffer = xalloc(size);
	size_t used = 0, step;
	struct inode *inode;
	struct dentry *dentry;
	uint64_t seq = (uint64_t)off;
	int error = op_fault("readdir", node);

	(void)fi;
	if (error) {
		free(buffer);
		fuse_reply_err(req, error);
		return;
	}
	lock();
	inode = inode_by_node(node);
	if (!inode || is_special(inode)) {
		unlock();
		free(buffer);
		fuse_reply_err(req, inode ? EPERM : ENOENT);
		return;
	}
	for (; seq < 2; seq++) {
		step = add_entry(req, buffer + used, size - used, seq == 0 ? "." : "..", inode, seq + 1);
		if (step > size - used)
			goto full;
		used += step;
	}
	for (dentry = dentry_after(inode, seq); dentry; dentry = dentry->next) {
		step = add_entry(req, buffer + used, size - used, dentry->name, dentry->child, dentry->seq);
		if (step > size - used)
			break;
		used += step;
	}
full:
	unlock();
	fuse_reply_buf(req, buffer, used);
	free(buffer);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* open(O_TRUNC) then arrives as an open and a truncate, and blocks for a restore like any truncate. */
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable & (FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
				       FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
	/* Blocked reads of the asynchronous kind must not fill the kernel's queue. */
	conn->max_background = 10000;
	conn->congestion_threshold = 10000;
}

/* There is no flush: the kernel learns it from the first ENOSYS and spares itself the call at each close. */
const struct fuse_lowlevel_ops sim_operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write_buf = op_write_buf,
	.release = op_release,
	.fsync = op_fsync,
	.readdir = op_readdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.ioctl = op_ioctl,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
};
