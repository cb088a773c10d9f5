/*
 * The inode table. Inodes are found by number through a two-level array; a FID is the number written as
 * sequence and object id.
 */
#include "sim.h"
#include <stdlib.h>

#define CHUNK 65536u
#define CHUNKS 65536u
#define FID_SEQUENCE 0x200000401u
#define FID_OIDS 0x20000u /* object ids of one sequence */
#define ROOT_SEQUENCE 0x200000007u
#define DOT_LUSTRE_SEQUENCE 0x200000002u

static struct inode **chunks[CHUNKS];
static uint64_t next_number = FIRST_NUMBER;
static uint64_t data_versions = 0x100000000u;

static void inode_store(uint64_t number, struct inode *inode)
{
	struct inode ***chunk = &chunks[number / CHUNK % CHUNKS];

	if (!*chunk)
		*chunk = xalloc(CHUNK * sizeof(**chunk));
	(*chunk)[number % CHUNK] = inode;
}

struct inode *inode_by_number(uint64_t number)
{
	struct inode **chunk;

	if (number / CHUNK >= CHUNKS)
		return NULL;
	chunk = chunks[number / CHUNK];
	return chunk ? chunk[number % CHUNK] : NULL;
}

/*
 * What is reached through .lustre/fid has a node id of its own, so that the kernel keeps another inode for it.
 * Otherwise a writer that waits for a restore would hold the lock that the copytool needs to set an attribute.
 */
struct inode *inode_by_node(fuse_ino_t node)
{
	return inode_by_number(node & ~ALIAS_NODE);
}

struct lu_fid inode_fid(const struct inode *inode)
{
	uint64_t n = inode->number;

	if (n == ROOT_NUMBER)
		return (struct lu_fid){ ROOT_SEQUENCE, 1, 0 };
	if (n < FIRST_NUMBER)
		return (struct lu_fid){ DOT_LUSTRE_SEQUENCE, (uint32_t)n - 1, 0 };
	return (struct lu_fid){ FID_SEQUENCE + n / FID_OIDS, (uint32_t)(n % FID_OIDS), 0 };
}

/* 0 when no inode can have this FID. */
uint64_t fid_number(const struct lu_fid *fid)
{
	if (fid->f_ver != 0)
		return 0;
	if (fid->f_seq == ROOT_SEQUENCE)
		return fid->f_oid == 1 ? ROOT_NUMBER : 0;
	if (fid->f_seq == DOT_LUSTRE_SEQUENCE)
		return fid->f_oid == 1 ? LUSTRE_DIR_NUMBER : fid->f_oid == 2 ? FID_DIR_NUMBER : 0;
	if (fid->f_seq < FID_SEQUENCE || fid->f_seq > FID_SEQUENCE + CHUNKS || fid->f_oid >= FID_OIDS)
		return 0;
	return (fid->f_seq - FID_SEQUENCE) * FID_OIDS + fid->f_oid;
}

struct inode *inode_by_fid(const struct lu_fid *fid)
{
	uint64_t number = fid_number(fid);
	struct inode *inode = number ? inode_by_number(number) : NULL;
	struct lu_fid own;

	if (!inode)
		return NULL;
	own = inode_fid(inode);
	return fid_equal(&own, fid) ? inode : NULL;
}

static struct inode *inode_with_number(uint64_t number, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct inode *inode = xalloc(sizeof(*inode));

	inode->number = number;
	inode->mode = mode;
	inode->uid = uid;
	inode->gid = gid;
	inode->atime = inode->mtime = inode->ctime = now_ts();
	inode->data_version = next_data_version();
	if (S_ISDIR(mode))
		inode->nlink = 2;
	inode_store(number, inode);
	return inode;
}

struct inode *inode_new(uint32_t mode, uint32_t uid, uint32_t gid)
{
	if (next_number % FID_OIDS == 0) /* object ids start at 1 */
		next_number++;
	return inode_with_number(next_number++, mode, uid, gid);
}

void inodes_init(void)
{
	inode_with_number(ROOT_NUMBER, S_IFDIR | 0755, 0, 0);
	inode_with_number(LUSTRE_DIR_NUMBER, S_IFDIR | 0100, 0, 0);
	inode_with_number(FID_DIR_NUMBER, S_IFDIR | 0100, 0, 0);
}

uint64_t next_data_version(void)
{
	return ++data_versions;
}

void inode_put_if_unused(struct inode *inode)
{
	if (inode->names || inode->opens || inode->number < FIRST_NUMBER)
		return;
	object_drop(inode);
	xattrs_free(inode);
	free(inode->target);
	inode_store(inode->number, NULL);
	free(inode);
}

void inode_stat(struct inode *inode, struct stat *st)
{
	struct lu_fid fid = inode_fid(inode);

	*st = (struct stat){
		.st_ino = fid.f_seq << 24 ^ fid.f_oid,
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_rdev = inode->rdev,
		.st_size = S_ISDIR(inode->mode) ? 4096 : (off_t)inode->size,
		.st_blksize = 1 << 20,
		.st_blocks = inode->hsm_flags & HS_RELEASED ? 1 : content_blocks(inode),
		.st_atim = inode->atime,
		.st_mtim = inode->mtime,
		.st_ctim = inode->ctime,
	};
}

void inode_changed(struct inode *inode)
{
	inode->mtime = inode->ctime = now_ts();
	inode->data_version = next_data_version();
	if (inode->hsm_flags & HS_EXISTS)
		inode->hsm_flags |= HS_DIRTY;
}
