/*
 * Directory entries and extended attributes. Entries are found by (directory, name) and, for readdir, by the
 * offset of the entry read last; both through hash tables that grow.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static struct dentry **by_name, **by_seq;
static uint64_t table_size, dentry_count;
static uint64_t next_seq = 3; /* 1 and 2 are "." and ".." */

static uint64_t name_slot(const struct inode *parent, const char *name)
{
	return hash_bytes(name, strlen(name), parent->number * 0x9e3779b97f4a7c15u) & (table_size - 1);
}

static void table_insert(struct dentry *dentry)
{
	struct dentry **slot = &by_name[name_slot(dentry->parent, dentry->name)];

	dentry->name_next = *slot;
	*slot = dentry;
	slot = &by_seq[dentry->seq & (table_size - 1)];
	dentry->seq_next = *slot;
	*slot = dentry;
}

static void table_grow(void)
{
	struct dentry **old = by_seq;
	uint64_t old_size = table_size;

	table_size = old_size ? old_size * 2 : 1024;
	free(by_name);
	by_name = xalloc(table_size * sizeof(*by_name));
	by_seq = xalloc(table_size * sizeof(*by_seq));
	for (uint64_t i = 0; i < old_size; i++)
		for (struct dentry *d = old[i], *next; d; d = next) {
			next = d->seq_next;
			table_insert(d);
		}
	free(old);
}

struct dentry *dentry_find(const struct inode *parent, const char *name)
{
	if (!table_size)
		return NULL;
	for (struct dentry *d = by_name[name_slot(parent, name)]; d; d = d->name_next)
		if (d->parent == parent && strcmp(d->name, name) == 0)
			return d;
	return NULL;
}

struct dentry *dentry_add(struct inode *parent, const char *name, struct inode *child)
{
	size_t size = strlen(name) + 1;
	struct dentry *dentry = xalloc(sizeof(*dentry) + size);

	if (dentry_count++ >= table_size)
		table_grow();
	memcpy(dentry->name, name, size);
	dentry->parent = parent;
	dentry->child = child;
	dentry->seq = next_seq++;
	dentry->previous = parent->last;
	*(parent->last ? &parent->last->next : &parent->first) = dentry;
	parent->last = dentry;
	parent->entries++;
	dentry->link_next = child->names;
	child->names = dentry;
	if (S_ISDIR(child->mode))
		parent->nlink++;
	else
		child->nlink++;
	parent->mtime = parent->ctime = child->ctime = now_ts();
	table_insert(dentry);
	return dentry;
}

void dentry_remove(struct dentry *dentry)
{
	struct inode *parent = dentry->parent, *child = dentry->child;
	struct dentry **slot;

	for (slot = &by_name[name_slot(parent, dentry->name)]; *slot != dentry; slot = &(*slot)->name_next)
		;
	*slot = dentry->name_next;
	for (slot = &by_seq[dentry->seq & (table_size - 1)]; *slot != dentry; slot = &(*slot)->seq_next)
		;
	*slot = dentry->seq_next;
	for (slot = &child->names; *slot != dentry; slot = &(*slot)->link_next)
		;
	*slot = dentry->link_next;
	*(dentry->previous ? &dentry->previous->next : &parent->first) = dentry->next;
	*(dentry->next ? &dentry->next->previous : &parent->last) = dentry->previous;
	parent->entries--;
	dentry_count--;
	if (S_ISDIR(child->mode))
		parent->nlink--;
	else
		child->nlink--;
	parent->mtime = parent->ctime = child->ctime = now_ts();
	free(dentry);
}

/* The entry that follows offset `seq`; the one at that offset may be gone by now. */
struct dentry *dentry_after(const struct inode *parent, uint64_t seq)
{
	struct dentry *dentry;

	if (seq < 3 || !table_size)
		return parent->first;
	for (dentry = by_seq[seq & (table_size - 1)]; dentry; dentry = dentry->seq_next)
		if (dentry->seq == seq && dentry->parent == parent)
			return dentry->next;
	for (dentry = parent->first; dentry && dentry->seq <= seq; dentry = dentry->next)
		;
	return dentry;
}

/* The path of the inode's name number linkno, relative to the root; *links gets the number of its names. */
int inode_path(struct inode *inode, int linkno, char *path, size_t size, int *links)
{
	struct dentry *name, *chosen = NULL;
	char reversed[PATH_MAX];
	size_t at = sizeof(reversed) - 1;
	int count = 0;

	if (inode->number == ROOT_NUMBER) {
		snprintf(path, size, "/");
		*links = 1;
		return 0;
	}
	for (name = inode->names; name; name = name->link_next)
		count++;
	*links = count;
	if (count == 0)
		return -ENOENT;
	/* Names are kept newest first; number 0 is the oldest. */
	for (name = inode->names; name; name = name->link_next)
		if (--count == linkno)
			chosen = name;
	if (!chosen)
		return -ENODATA;
	reversed[at] = '\0';
	for (name = chosen; name; name = name->parent->names) {
		size_t length = strlen(name->name);

		if (at < length + 1)
			return -ENAMETOOLONG;
		if (name != chosen)
			reversed[--at] = '/';
		at -= length;
		memcpy(reversed + at, name->name, length);
	}
	if (sizeof(reversed) - at > size)
		return -EOVERFLOW;
	memcpy(path, reversed + at, sizeof(reversed) - at);
	return 0;
}

static struct xattr **xattr_slot(struct inode *inode, const char *name)
{
	struct xattr **slot = &inode->xattrs;

	while (*slot && strcmp((*slot)->name, name) != 0)
		slot = &(*slot)->next;
	return slot;
}

int xattr_get(const struct inode *inode, const char *name, const char **value, size_t *size)
{
	for (const struct xattr *x = inode->xattrs; x; x = x->next)
		if (strcmp(x->name, name) == 0) {
			*value = x->value;
			*size = x->size;
			return 0;
		}
	return ENODATA;
}

int xattr_set(struct inode *inode, const char *name, const char *value, size_t size, int flags)
{
	struct xattr **slot = xattr_slot(inode, name);

	if (*slot && (flags & XATTR_CREATE))
		return EEXIST;
	if (!*slot && (flags & XATTR_REPLACE))
		return ENODATA;
	if (!*slot) {
		*slot = xalloc(sizeof(**slot) + strlen(name) + 1);
		strcpy((*slot)->name, name);
	}
	free((*slot)->value);
	(*slot)->value = memcpy(xalloc(size), value, size);
	(*slot)->size = size;
	inode->ctime = now_ts();
	return 0;
}

int xattr_remove(struct inode *inode, const char *name)
{
	struct xattr **slot = xattr_slot(inode, name), *old = *slot;

	if (!old)
		return ENODATA;
	*slot = old->next;
	free(old->value);
	free(old);
	inode->ctime = now_ts();
	return 0;
}

void xattrs_free(struct inode *inode)
{
	while (inode->xattrs)
		xattr_remove(inode, inode->xattrs->name);
}
