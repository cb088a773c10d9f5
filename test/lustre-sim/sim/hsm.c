/*
 * HSM states of files and what users ask for: requests, release, import, state changes. Each errno is the one a
 * real server gives.
 */
#include "sim.h"
#include <stdlib.h>
#include <string.h>

#define RELEASE_PATIENCE_S 0.3

const char *action_name(uint32_t action)
{
	switch (action) {
	case HSMA_NONE:
		return "NOOP";
	case HSMA_ARCHIVE:
		return "ARCHIVE";
	case HSMA_RESTORE:
		return "RESTORE";
	case HSMA_REMOVE:
		return "REMOVE";
	case HSMA_CANCEL:
		return "CANCEL";
	default:
		return "UNKNOWN";
	}
}

/* An open that was closed a moment ago may not have been told to us yet: waits a little for it. */
static int wait_until_closed(struct inode **inode)
{
	uint64_t number = (*inode)->number;
	double patience = now_s() + RELEASE_PATIENCE_S;

	while (*inode && (*inode)->opens) {
		if (now_s() >= patience)
			return -EBUSY;
		wait_event(patience);
		*inode = inode_by_number(number);
	}
	return *inode ? 0 : -ENOENT;
}

static int release(struct inode *inode)
{
	const uint32_t needed = HS_EXISTS | HS_ARCHIVED;
	const uint32_t forbidden = HS_DIRTY | HS_NORELEASE | HS_LOST;
	int rc;

	if (!S_ISREG(inode->mode))
		return -EINVAL;
	if (inode->hsm_flags & HS_RELEASED)
		return 0;
	if ((inode->hsm_flags & needed) != needed || (inode->hsm_flags & forbidden))
		return -EPERM;
	rc = wait_until_closed(&inode);
	if (rc)
		return rc;
	if ((inode->hsm_flags & needed) != needed || (inode->hsm_flags & forbidden))
		return -EPERM; /* changed while we waited */
	object_drop(inode);
	inode->hsm_flags |= HS_RELEASED;
	return 0;
}

static int ask_archive(struct inode *inode, uint32_t archive_id, uint64_t flags, const char *data, uint32_t length)
{
	struct lu_fid fid = inode_fid(inode);

	if (inode->hsm_flags & HS_NOARCHIVE)
		return -EPERM;
	if ((inode->hsm_flags & HS_ARCHIVED) && !(inode->hsm_flags & HS_DIRTY))
		return 0; /* nothing to do */
	if (archive_id && (inode->hsm_flags & HS_EXISTS) && inode->archive_id && inode->archive_id != archive_id)
		return -EINVAL;
	if (!archive_id)
		archive_id = inode->hsm_flags & HS_EXISTS ? inode->archive_id : 0;
	if (!archive_id)
		archive_id = (uint32_t)tunables.default_archive_id;
	request_add(HSMA_ARCHIVE, &fid, archive_id, flags, data, length);
	return 0;
}

static int ask_restore(struct inode *inode, uint64_t flags, const char *data, uint32_t length)
{
	struct lu_fid fid = inode_fid(inode);

	if (!(inode->hsm_flags & HS_RELEASED))
		return 0;
	if ((inode->hsm_flags & (HS_LOST | HS_DIRTY)) || !(inode->hsm_flags & HS_ARCHIVED))
		return -EPERM;
	if (!request_live(&fid, HSMA_RESTORE))
		request_add(HSMA_RESTORE, &fid, inode->archive_id, flags, data, length);
	return 0;
}

int hsm_restore_for(struct inode *inode)
{
	int rc;

	if (tunables.control == CONTROL_SHUTDOWN)
		return -EAGAIN;
	rc = ask_restore(inode, HSM_REQ_BLOCKING, NULL, 0);
	if (rc == 0 && tunables.nonblocking_restore)
		return -ENODATA;
	return rc;
}

static int ask_remove(const struct inode *inode, const struct lu_fid *fid, uint32_t archive_id, uint64_t flags,
		      const char *data, uint32_t length)
{
	if (!inode) { /* by FID, of a file that is gone: the user must know the archive */
		if (!archive_id)
			return -ENOENT;
	} else if (!(inode->hsm_flags & (HS_EXISTS | HS_ARCHIVED))) {
		return 0;
	} else if (inode->hsm_flags & HS_RELEASED) {
		return -EPERM;
	} else {
		archive_id = inode->archive_id;
	}
	request_add(HSMA_REMOVE, fid, archive_id, flags, data, length);
	return 0;
}

static int ask_cancel(const struct lu_fid *fid)
{
	struct request *target = request_live(fid, 0), *cancel;

	if (!target || (target->cancel && target->cancel->status <= STARTED))
		return 0;
	if (target->cancel)
		target->cancel->target = NULL;
	cancel = request_add(HSMA_CANCEL, fid, target->archive_id, target->flags, NULL, 0);
	cancel->target = target;
	cancel->target_cookie = target->cookie;
	target->cancel = cancel;
	return 0;
}

static int ask_one(const struct hsm_request *request, const struct lu_fid *fid, const char *data)
{
	struct inode *inode = inode_by_fid(fid);

	if (!inode && request->hr_action != HUA_REMOVE && request->hr_action != HUA_CANCEL)
		return -ENOENT;
	switch (request->hr_action) {
	case HUA_ARCHIVE:
		return ask_archive(inode, request->hr_archive_id, request->hr_flags, data, request->hr_data_len);
	case HUA_RESTORE:
		return ask_restore(inode, request->hr_flags, data, request->hr_data_len);
	case HUA_RELEASE:
		return release(inode);
	case HUA_REMOVE:
		return ask_remove(inode, fid, request->hr_archive_id, request->hr_flags, data,
				  request->hr_data_len);
	case HUA_CANCEL:
		return ask_cancel(fid);
	default:
		return -EINVAL;
	}
}

int hsm_user_request(uint32_t uid, const struct hsm_user_request *user, size_t size)
{
	const struct hsm_request *request = &user->hur_request;
	uint64_t bytes = sim_request_bytes(request->hr_itemcount, request->hr_data_len);
	const char *data = (const char *)&user->hur_user_item[request->hr_itemcount];
	int rc = 0;

	if (bytes >= SIM_REQUEST_MAX || bytes > size)
		return -E2BIG;
	if (tunables.control == CONTROL_SHUTDOWN && request->hr_action != HUA_RELEASE)
		return -EAGAIN;
	/* By default the server lets users restore, and keeps the rest for root; the owner may release. */
	if (uid != 0 && request->hr_action != HUA_RESTORE && request->hr_action != HUA_RELEASE)
		return -EPERM;
	for (uint32_t i = 0; i < request->hr_itemcount && rc == 0; i++)
		rc = ask_one(request, &user->hur_user_item[i].hui_fid, data);
	/* All of them are recorded; the answer is the policy's. */
	if (rc == 0 && request->hr_action == HUA_RESTORE && request->hr_itemcount && tunables.nonblocking_restore)
		rc = -ENODATA;
	return rc;
}

int hsm_state_set(struct inode *inode, uint32_t uid, uint64_t set, uint64_t clear, uint32_t archive_id)
{
	const uint64_t known = HS_EXISTS | HS_DIRTY | HS_ARCHIVED | HS_NORELEASE | HS_NOARCHIVE | HS_LOST;
	const uint64_t for_users = HS_NORELEASE | HS_NOARCHIVE | HS_DIRTY;
	uint32_t flags;

	if ((set | clear) & ~known)
		return -EINVAL;
	if (uid != 0 && (((set | clear) & ~for_users) || uid != inode->uid))
		return -EPERM;
	flags = (inode->hsm_flags | (uint32_t)set) & ~(uint32_t)clear;
	/* What the server takes for a contradiction. */
	if (((flags & HS_DIRTY) && !(flags & HS_EXISTS)) || ((flags & HS_RELEASED) && (flags & HS_DIRTY)) ||
	    ((flags & HS_RELEASED) && !(flags & HS_ARCHIVED)) || ((flags & HS_LOST) && !(flags & HS_ARCHIVED)))
		return -EINVAL;
	inode->hsm_flags = flags;
	if (archive_id)
		inode->archive_id = archive_id;
	inode->ctime = now_ts();
	return 0;
}

void hsm_state_get(struct inode *inode, struct hsm_user_state *state)
{
	struct lu_fid fid = inode_fid(inode);
	const struct request *request = request_live(&fid, 0);

	*state = (struct hsm_user_state){ .hus_states = inode->hsm_flags, .hus_archive_id = inode->archive_id };
	if (request) {
		state->hus_in_progress_state = request->status == WAITING ? HPS_WAITING : HPS_RUNNING;
		state->hus_in_progress_action = request->action == HSMA_ARCHIVE ? HUA_ARCHIVE :
						request->action == HSMA_RESTORE ? HUA_RESTORE :
										  HUA_REMOVE;
		/* Of a running request the bytes moved, of a waiting one the whole file. */
		state->hus_in_progress_location.length = request->status == WAITING ? UINT64_MAX : request->moved;
	}
}

int hsm_import(struct inode *inode, struct sim_import *import)
{
	if (!S_ISREG(inode->mode) || inode->size || (inode->hsm_flags & HS_EXISTS))
		return -EINVAL;
	object_drop(inode);
	inode->mode = S_IFREG | (import->mode & 0777);
	inode->uid = import->uid;
	inode->gid = import->gid;
	inode->size = import->size;
	inode->atime = (struct timespec){ import->atime_s, import->atime_ns };
	inode->mtime = (struct timespec){ import->mtime_s, import->mtime_ns };
	inode->ctime = now_ts();
	inode->hsm_flags = HS_EXISTS | HS_ARCHIVED | HS_RELEASED;
	inode->archive_id = import->archive_id;
	import->fid = inode_fid(inode);
	return 0;
}

void hsm_last_unlink(const struct inode *inode)
{
	struct lu_fid fid = inode_fid(inode);
	struct request *request;

	if (!tunables.remove_archive_on_last_unlink || !(inode->hsm_flags & (HS_EXISTS | HS_ARCHIVED)))
		return;
	request = request_add(HSMA_REMOVE, &fid, inode->archive_id, 0, NULL, 0);
	request->dfid = (struct lu_fid){ 0 };
}
