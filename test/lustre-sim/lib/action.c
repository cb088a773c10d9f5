/*
 * One action: begin, progress, end, and its descriptors. A handle that is used after its end is caught: those
 * alive are kept in a set, those that ended lately in a quarantine.
 */
#include "lib.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SLOTS 1024u
#define QUARANTINE 4096u
#define FDS_MAX 65536

struct hsm_copyaction_private {
	struct hsm_copyaction_private *next;
	const struct hsm_copytool_private *ct;
	bool is_error;
	uint32_t action;
	uint64_t cookie;
	struct lu_fid fid, volatile_fid;
	uint64_t data_version;
	int data_fd; /* the volatile file, -1 */
};

static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hsm_copyaction_private *live[SLOTS];
static struct hsm_copyaction_private *ended[QUARANTINE];
static unsigned next_ended;

/* What get_fd gave out, by descriptor number: whether it is still open is asked when the tool unregisters. */
static struct given {
	const struct hsm_copytool_private *ct;
	dev_t device;
	ino_t inode;
} *given;

static struct hsm_copyaction_private **slot_of(const struct hsm_copyaction_private *hcp)
{
	struct hsm_copyaction_private **slot = &live[((uintptr_t)hcp >> 4) % SLOTS];

	while (*slot && *slot != hcp)
		slot = &(*slot)->next;
	return slot;
}

/* -EINVAL for a handle that has ended; the process ends for one that never was. */
static int check_handle(const struct hsm_copyaction_private *hcp, const char *what)
{
	bool known = false, was = false;

	pthread_mutex_lock(&handles_lock);
	known = *slot_of(hcp) != NULL;
	for (unsigned i = 0; i < QUARANTINE && !known && !was; i++)
		was = ended[i] == hcp;
	pthread_mutex_unlock(&handles_lock);
	if (known && hcp->ct)
		return 0;
	if (known) {
		report_violation(any_mnt_fd(), "%s on cookie 0x%llx after its tool unregistered", what,
				 (unsigned long long)hcp->cookie);
		return -EINVAL;
	}
	if (!was) {
		report_violation(any_mnt_fd(), "%s on %p, which is no handle", what, (const void *)hcp);
		abort();
	}
	report_violation(any_mnt_fd(), "%s after the end of cookie 0x%llx", what, (unsigned long long)hcp->cookie);
	return -EINVAL;
}

static void handle_add(struct hsm_copyaction_private *hcp)
{
	struct hsm_copyaction_private **slot;

	pthread_mutex_lock(&handles_lock);
	slot = slot_of(hcp);
	hcp->next = NULL;
	*slot = hcp;
	pthread_mutex_unlock(&handles_lock);
}

static void handle_end(struct hsm_copyaction_private *hcp)
{
	struct hsm_copyaction_private **slot;

	pthread_mutex_lock(&handles_lock);
	slot = slot_of(hcp);
	*slot = hcp->next;
	free(ended[next_ended]);
	ended[next_ended] = hcp;
	next_ended = (next_ended + 1) % QUARANTINE;
	pthread_mutex_unlock(&handles_lock);
}

static void remember_fd(const struct hsm_copytool_private *ct, int fd)
{
	struct statx st;

	/* The real library asks nothing here, so the file system is not asked either. */
	if (fd < 0 || fd >= FDS_MAX || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) != 0)
		return;
	pthread_mutex_lock(&handles_lock);
	if (!given)
		given = calloc(FDS_MAX, sizeof(*given));
	if (given)
		given[fd] = (struct given){ ct, makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino };
	pthread_mutex_unlock(&handles_lock);
}

void copytool_leaves(const struct hsm_copytool_private *ct)
{
	struct stat st;

	pthread_mutex_lock(&handles_lock);
	for (unsigned i = 0; i < SLOTS; i++)
		for (struct hsm_copyaction_private *hcp = live[i]; hcp; hcp = hcp->next)
			if (hcp->ct == ct)
				hcp->ct = NULL;
	for (int fd = 0; given && fd < FDS_MAX; fd++) {
		if (given[fd].ct != ct)
			continue;
		if (fstat(fd, &st) == 0 && st.st_dev == given[fd].device && st.st_ino == given[fd].inode)
			report_violation(ct->mnt_fd, "descriptor %d of get_fd is still open at unregister", fd);
		given[fd].ct = NULL;
	}
	pthread_mutex_unlock(&handles_lock);
}

static int open_fid(int mnt_fd, const struct lu_fid *fid, int flags)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), ".lustre/fid/0x%llx:0x%x:0x%x", (unsigned long long)fid->f_seq, fid->f_oid,
		 fid->f_ver);
	fd = openat(mnt_fd, path, flags);
	return fd >= 0 ? fd : -errno;
}

int llapi_hsm_action_begin(struct hsm_copyaction_private **phcp, const struct hsm_copytool_private *ct,
			   const struct hsm_action_item *hai, int restore_mdt_index, int restore_open_flags,
			   bool is_error)
{
	struct sim_begin call = { 0 };
	struct hsm_copyaction_private *hcp;
	int rc;

	if (!phcp || !ct || ct->magic != COPYTOOL_MAGIC || !hai)
		return -EINVAL;
	call.call.registration = ct->registration;
	call.fid = hai->hai_fid;
	call.cookie = hai->hai_cookie;
	call.action = hai->hai_action;
	call.is_error = is_error;
	call.mdt_index = restore_mdt_index;
	rc = sim_ioctl(ct->mnt_fd, SIM_IOC_BEGIN, &call);
	if (rc) {
		log_error(rc, "begin of cookie 0x%llx failed", (unsigned long long)hai->hai_cookie);
		return rc;
	}
	hcp = calloc(1, sizeof(*hcp));
	if (!hcp)
		return -ENOMEM;
	hcp->ct = ct;
	hcp->is_error = is_error;
	hcp->action = call.action;
	hcp->cookie = call.cookie;
	hcp->fid = call.fid;
	hcp->volatile_fid = call.volatile_fid;
	hcp->data_version = call.data_version;
	hcp->data_fd = -1;
	if (call.volatile_fid.f_seq) {
		/* O_LOV_DELAY_CREATE and its like are for a layout, and there is none here. */
		(void)restore_open_flags;
		hcp->data_fd = open_fid(ct->mnt_fd, &call.volatile_fid, O_RDWR | O_CLOEXEC);
		if (hcp->data_fd < 0) {
			rc = hcp->data_fd;
			free(hcp);
			return rc;
		}
	}
	handle_add(hcp);
	*phcp = hcp;
	return 0;
}

static struct sim_progress report_of(const struct hsm_copyaction_private *hcp, const struct hsm_extent *he,
				     int hp_flags, int errval)
{
	struct sim_progress call = { 0 };

	call.call.registration = hcp->ct->registration;
	call.fid = hcp->fid;
	call.volatile_fid = hcp->volatile_fid;
	call.cookie = hcp->cookie;
	call.data_version = hcp->data_version;
	call.action = hcp->action;
	call.is_error = hcp->is_error;
	if (he)
		call.extent = *he;
	call.hp_flags = (uint32_t)hp_flags;
	call.errval = errval;
	return call;
}

int llapi_hsm_action_progress(struct hsm_copyaction_private *hcp, const struct hsm_extent *he, uint64_t total,
			      int hp_flags)
{
	struct sim_progress call;
	int rc;

	(void)total; /* shown to nobody */
	if (!hcp || !he)
		return -EINVAL;
	rc = check_handle(hcp, "progress");
	if (rc)
		return rc;
	call = report_of(hcp, he, hp_flags & ~HP_FLAG_COMPLETED, 0);
	return sim_ioctl(hcp->ct->mnt_fd, SIM_IOC_PROGRESS, &call);
}

int llapi_hsm_action_end(struct hsm_copyaction_private **phcp, const struct hsm_extent *he, int hp_flags,
			 int errval)
{
	struct hsm_copyaction_private *hcp;
	struct sim_progress call;
	int rc;

	if (!phcp || !he)
		return -EINVAL;
	if (!*phcp) {
		report_violation(any_mnt_fd(), "end without begin");
		return -EINVAL;
	}
	hcp = *phcp;
	rc = check_handle(hcp, "end");
	if (rc)
		return rc;
	/* The simulator has nothing to sync; the call is made for the sake of an injected fault. */
	if (hcp->data_fd >= 0 && errval == 0 && *hcp->ct->faults && fsync(hcp->data_fd) != 0)
		errval = errno;
	call = report_of(hcp, he, hp_flags | HP_FLAG_COMPLETED, errval);
	rc = sim_ioctl(hcp->ct->mnt_fd, SIM_IOC_END, &call);
	if (hcp->data_fd >= 0)
		close(hcp->data_fd);
	handle_end(hcp);
	*phcp = NULL;
	return rc;
}

int llapi_hsm_action_get_dfid(const struct hsm_copyaction_private *hcp, struct lu_fid *fid)
{
	int rc;

	if (!hcp || !fid)
		return -EINVAL;
	rc = check_handle(hcp, "get_dfid");
	if (rc)
		return rc;
	rc = local_fault(hcp->ct, "get_dfid", &hcp->fid, hcp->action);
	if (rc)
		return rc;
	if (hcp->action != HSMA_RESTORE && hcp->action != HSMA_ARCHIVE)
		return -EINVAL;
	*fid = hcp->action == HSMA_RESTORE ? hcp->volatile_fid : hcp->fid;
	return 0;
}

int llapi_hsm_action_get_fd(const struct hsm_copyaction_private *hcp)
{
	int fd;

	if (!hcp)
		return -EINVAL;
	fd = check_handle(hcp, "get_fd");
	if (fd)
		return fd;
	fd = local_fault(hcp->ct, "get_fd", &hcp->fid, hcp->action);
	if (fd)
		return fd;
	if (hcp->action == HSMA_ARCHIVE) {
		fd = open_fid(hcp->ct->mnt_fd, &hcp->fid, O_RDONLY | O_NOATIME | O_NOFOLLOW | O_NONBLOCK);
	} else if (hcp->action == HSMA_RESTORE && hcp->data_fd >= 0) {
		fd = dup(hcp->data_fd);
		if (fd < 0)
			fd = -errno;
	} else {
		fd = -EINVAL;
	}
	if (fd >= 0)
		remember_fd(hcp->ct, fd);
	return fd;
}
