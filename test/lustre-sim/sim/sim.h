/*
 * What the parts of the simulator share. One mutex, `sim_lock`, guards everything that is not said to be
 * constant: names, inodes, coordinator, agents, faults. It is never held while file content moves.
 *
 * Lock order: a libfuse request's own lock (held by libfuse while it calls an interrupt function) → sim_lock →
 * libfuse's session lock (taken inside fuse_reply_*). So never call fuse_req_interrupt_func with sim_lock held.
 *
 * Inodes are named by a number that is never used twice, and go away with their last name and last open; a
 * request about a number that is gone gets ENOENT. So the kernel's lookup counts need not be kept.
 */
#ifndef LUSTRE_SIM_H
#define LUSTRE_SIM_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 12)

#include "../sim-proto.h"
#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MOUNTS_MAX 32
#define NAME_LIMIT 255
#define ROOT_NUMBER 1u
#define LUSTRE_DIR_NUMBER 2u /* .lustre */
#define FID_DIR_NUMBER 3u    /* .lustre/fid */
#define FIRST_NUMBER 16u
#define ALIAS_NODE (1ull << 62) /* in a node id: reached through .lustre/fid */

extern pthread_mutex_t sim_lock;

static inline void lock(void)
{
	pthread_mutex_lock(&sim_lock);
}

static inline void unlock(void)
{
	pthread_mutex_unlock(&sim_lock);
}

/* util.c */
double now_s(void); /* monotonic */
struct timespec now_ts(void);
void *xalloc(size_t size);                 /* zeroed, never NULL */
void *xgrow(void *old, size_t size);       /* realloc, never NULL */
char *xdup(const char *text);
int errno_by_name(const char *name);       /* ENOENT or a number; 0 when unknown */
const char *errno_name(int number, char *buffer, size_t size);
#define FID_TEXT 64
#define FID_FORMAT "[0x%llx:0x%x:0x%x]"
#define FID_ARGS(fid) (unsigned long long)(fid).f_seq, (fid).f_oid, (fid).f_ver
bool fid_parse(const char *text, struct lu_fid *fid);
bool fid_equal(const struct lu_fid *a, const struct lu_fid *b);
uint64_t hash_bytes(const void *data, size_t size, uint64_t seed);

/* A growing text, for the answers of the control socket. */
struct text {
	char *data;
	size_t length;
	size_t room;
};
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);

/* inode.c, names.c: the tables; content.c: what is in files. */
struct inode;

struct dentry {
	struct dentry *name_next; /* in the hash by parent and name */
	struct dentry *seq_next;  /* in the hash by seq */
	struct dentry *previous;  /* in its directory, ascending seq */
	struct dentry *next;
	struct dentry *link_next; /* among the names of one inode */
	struct inode *parent;
	struct inode *child;
	uint64_t seq; /* readdir's offset */
	char name[];
};

struct xattr {
	struct xattr *next;
	char *value;
	size_t size;
	char name[];
};

/* A file's content: in memory while it is small, then in a backing file. */
struct object {
	uint64_t id;    /* of the backing file, 0: none */
	int fd;         /* -1 while nobody has the file open */
	unsigned users; /* transfers that run without the lock */
	bool doomed;    /* its inode is gone */
	struct inode *owner;
	int64_t blocks; /* as of the time the backing file was closed */
	char *memory;
	size_t room; /* bytes in memory; those behind the file's end are zero */
};
#define SMALL_LIMIT (64u << 10)

struct blocked;

enum volatile_state { VOLATILE_NO, VOLATILE_LIVE, VOLATILE_ENDED };

struct inode {
	uint64_t number;
	uint32_t mode, uid, gid, nlink;
	uint64_t rdev, size;
	struct timespec atime, mtime, ctime;
	struct dentry *names; /* this inode's own names */
	struct dentry *first, *last; /* a directory's entries */
	uint64_t entries;
	char *target; /* a symlink's */
	struct xattr *xattrs;
	struct object *object;
	uint64_t data_version;
	uint32_t hsm_flags, archive_id;
	unsigned opens; /* open descriptions; a volatile file waiting for its open counts as one */
	enum volatile_state volatile_state;
	bool volatile_unopened;
	struct blocked *blocked;
};

struct handle {
	struct inode *inode;
	int flags;
};

void inodes_init(void);
struct inode *inode_by_number(uint64_t number);
struct inode *inode_by_node(fuse_ino_t node);
struct inode *inode_by_fid(const struct lu_fid *fid);
struct lu_fid inode_fid(const struct inode *inode);
uint64_t fid_number(const struct lu_fid *fid);
struct inode *inode_new(uint32_t mode, uint32_t uid, uint32_t gid);
void inode_put_if_unused(struct inode *inode); /* frees it when it has neither name nor open */
void inode_stat(struct inode *inode, struct stat *st);
void inode_changed(struct inode *inode); /* mtime, ctime, data version, dirty: content changes */
uint64_t next_data_version(void);

/* content.c */
int inode_truncate(struct inode *inode, uint64_t size);
int64_t content_blocks(const struct inode *inode);
bool content_is_small(const struct inode *inode, uint64_t end); /* and may stay so up to this end */
char *small_content(struct inode *inode, uint64_t end);         /* with room up to there */
void small_read(const struct inode *inode, uint64_t off, size_t size, char *out);
int object_open(struct inode *inode, struct object **object); /* makes a backing file, takes a use */
void object_close(struct object *object);                     /* gives the use back */
void object_drop(struct inode *inode);                        /* the content goes away */
void object_idle(struct inode *inode);                        /* nobody has the inode open any more */

struct dentry *dentry_find(const struct inode *parent, const char *name);
struct dentry *dentry_add(struct inode *parent, const char *name, struct inode *child);
void dentry_remove(struct dentry *dentry);
struct dentry *dentry_after(const struct inode *parent, uint64_t seq);
int inode_path(struct inode *inode, int linkno, char *path, size_t size, int *links);

int xattr_get(const struct inode *inode, const char *name, const char **value, size_t *size);
int xattr_set(struct inode *inode, const char *name, const char *value, size_t size, int flags);
int xattr_remove(struct inode *inode, const char *name);
void xattrs_free(struct inode *inode);

/* One mount point: one simulated client node. */
struct pipe_end {
	struct pipe_end *next;
	int fd;
	unsigned mount;
	uint64_t registration;
	char *queue; /* what the pipe had no room for */
	size_t queue_start, queue_length, queue_room;
	bool shutting_down;
};

struct mount {
	unsigned index;
	char *path;
	char uuid[40];
	struct fuse_session *session;
	pthread_t thread;
	/* The node's own memory of its registration. */
	struct pipe_end *pipes;
	bool kernel_registered;
	/* The metadata server's memory of it: the agent. */
	bool agent;
	uint32_t *archives;
	int archive_count; /* 0: every archive */
	uint64_t requests_current, requests_ok, requests_failed;
};

struct sim {
	char fsname[16];
	char work_dir[200];
	char socket_path[108];
	char flags_path[108];
	unsigned mount_count;
	struct mount mounts[MOUNTS_MAX];
	volatile uint32_t *flags_page;
	uint64_t blocked_count, blocked_total;
};
extern struct sim sim;
struct mount *mount_of(fuse_req_t req);

/* fs-names.c, fs-data.c, fs-xattr.c, ioctl.c: the file system's operations. */
extern const struct fuse_lowlevel_ops sim_operations;
void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t node, struct fuse_bufvec *in, off_t off, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t length, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t node);
void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t room);
void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t room);
void op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name);
void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned int cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in_buf, size_t in_bufsz, size_t out_bufsz);
void fill_entry(struct inode *inode, bool alias, struct fuse_entry_param *entry);
double attr_timeout(const struct inode *inode);
/* An injected fault of a file operation: sleeps its delay, returns its errno. Call without the lock. */
int op_fault(const char *name, fuse_ino_t node);

/* blocked.c: requests that wait for a restore. */
enum blocked_kind { BLOCKED_READ, BLOCKED_WRITE, BLOCKED_SETATTR, BLOCKED_FALLOCATE };

struct blocked {
	struct blocked *next; /* of the same inode, or of a list to wake */
	struct blocked *hash_next;
	fuse_req_t req;
	struct inode *inode;
	enum blocked_kind kind;
	bool setting_up, interrupted, woken;
	int error;
	struct handle *handle; /* NULL: a truncate by path, which holds the inode by a count of its own */
	uint64_t offset, size;
	int mode; /* fallocate's mode, setattr's to_set */
	char *data;
	struct stat attr;
};
/* Lock held at the call, dropped at the return; *wait then belongs to this part. */
void block_until_restored(struct blocked *wait);
/* Lock held: takes those who wait for the inode to the list, to be told the error, or 0 to go on. */
void blocked_take(struct inode *inode, int error, struct blocked **list);
void wake_all(struct blocked *list); /* without the lock */
void blocked_free(struct blocked *wait); /* without the lock */
void blocked_fail_everything(int error);
void resume_data(struct blocked *wait); /* fs-data.c */

/* hsm.c: states of files, users' requests. */
struct hsm_counts {
	uint64_t waiting, started, succeeded, failed, canceled, delivered;
	uint64_t queue_peak; /* the most that were waiting or started at once */
};
int hsm_user_request(uint32_t uid, const struct hsm_user_request *request, size_t size);
int hsm_restore_for(struct inode *inode); /* somebody reads: 0 when a restore is on its way */
int hsm_state_set(struct inode *inode, uint32_t uid, uint64_t set, uint64_t clear, uint32_t archive_id);
void hsm_state_get(struct inode *inode, struct hsm_user_state *state);
int hsm_import(struct inode *inode, struct sim_import *import);
void hsm_last_unlink(const struct inode *inode); /* before the inode goes away */
const char *action_name(uint32_t action);

/* coordinator.c */
enum request_status { WAITING, STARTED, SUCCEED, FAILED, CANCELED };
enum control_state { CONTROL_ENABLED, CONTROL_DISABLED, CONTROL_SHUTDOWN };
extern const char *const status_names[];

struct queue {
	struct request *first, *last;
};

struct request {
	struct request *previous, *next; /* in its queue */
	struct request *cookie_next, *fid_next;
	struct queue *queue;
	uint64_t cookie, index;
	uint32_t action, archive_id;
	struct lu_fid fid, dfid;
	struct lu_fid volatile_fid; /* of the first process that reported progress */
	uint64_t flags, gid;
	enum request_status status;
	bool active; /* the coordinator's memory knows it as running */
	bool canceled;
	struct request *cancel; /* the CANCEL record for it */
	struct request *target; /* what a CANCEL record cancels, and that one's cookie: */
	uint64_t target_cookie;
	unsigned mount;
	uint64_t mount_epoch; /* of the agent it was given to */
	double changed; /* last sign of life */
	time_t created;
	uint64_t moved;
	uint64_t live_registration, ended_registration;
	uint32_t data_len;
	char data[];
};

struct tunables {
	uint64_t max_requests, active_request_timeout, grace_delay, default_archive_id;
	double loop_period;
	bool remove_archive_on_last_unlink, no_retry, nonblocking_restore;
	enum control_state control;
	double reregister_delay;
	int64_t enospc_after, edquot_after; /* bytes left, -1: no limit */
	uint32_t edquot_uid;
	uint64_t list_items; /* at most so many items a list */
};
extern struct tunables tunables;
extern struct hsm_counts counts;

void coordinator_start(void);
void coordinator_kick(void); /* something may be handed out now */
void events_changed(void);   /* wakes those who wait for a condition */
struct request *request_add(uint32_t action, const struct lu_fid *fid, uint32_t archive_id, uint64_t flags,
			    const char *data, uint32_t data_len);
struct request *request_by_cookie(uint64_t cookie);
struct request *request_live(const struct lu_fid *fid, uint32_t action); /* 0: any but CANCEL */
struct request *request_last(const struct lu_fid *fid, uint32_t action);
void request_touch(struct request *request);
void request_retry(struct request *request);
/* Moves it to a final status. The caller gives *wake to wake_all after the lock. */
void request_finish(struct request *request, enum request_status status, struct blocked **wake);
void coordinator_purge(struct blocked **wake);
void coordinator_forget(void); /* the metadata server restarts: what runs is no longer known */
bool cookie_was_issued(uint64_t cookie);
struct request **requests_all(size_t *count); /* in no order; to be freed */

/* lists.c */
struct outgoing;
size_t item_size(const struct request *request);
void list_add(struct outgoing *out, const struct request *request, uint32_t action);
struct outgoing *list_for(struct outgoing **lists, struct mount *mount, uint32_t archive_id, uint64_t flags,
			  size_t extra);
void lists_send(struct outgoing *lists); /* all of them, and frees them */

/* records.c */
void print_actions(struct text *out);
void print_active(struct text *out);

/* actions.c: what a copytool reports. */
void action_begin(struct sim_begin *call, struct blocked **wake);
void action_progress(struct sim_progress *call);
void action_end(struct sim_progress *call, struct blocked **wake);
void action_handle_gone(const struct sim_progress *call);

/* agents.c */
void agents_start(void);
int agent_register(unsigned mount, int fd, const uint32_t *archives, int count, uint64_t *registration);
int agent_unregister(unsigned mount, uint64_t registration);
bool agent_serves(const struct mount *mount, uint32_t archive_id);
bool archive_served(uint32_t archive_id);
struct mount *agent_choose(uint32_t archive_id); /* the next in turn, or NULL */
void agent_send(struct mount *mount, const void *list, size_t size);
void agent_evict(struct mount *mount, bool quietly);
void agents_drop_all(bool register_again);
void agents_shutdown(void); /* the file system goes away */
uint64_t agent_epoch(unsigned mount);
unsigned agents_count(void);
void print_agents(struct text *out);

/* faults.c */
int fault_set(const char *spec, struct text *error);
void fault_clear(void);
void print_faults(struct text *out);
/* With the lock held. Returns an errno (positive) or 0; *delay_ms is set when the call shall sleep first. */
int fault_check(const char *name, const struct lu_fid *fid, uint32_t action, uint32_t *delay_ms);
extern atomic_bool faults_armed;
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void print_violations(struct text *out);
void clear_violations(void);
uint64_t violations_count(void);

/* params.c, control.c */
int param_get(const char *name, struct text *out);                       /* 0 or -errno */
int param_set(const char *name, const char *value, struct text *error); /* takes the lock itself */
bool counter_value(const char *name, uint64_t *value);
bool condition_met(const char *condition, bool *valid);
void wait_event(double until); /* lock held; returns at the next event or at that time */
void control_start(void);

#endif
