/*
 * What a copytool reports about an action: begin, progress, end. Here are the server's rules about who may
 * still report what, and the checks that a tool calls in the right order.
 */
#include "sim.h"

/* What the coordinator says to any report about this cookie: 0, -EAGAIN, -ENOENT. */
static int running(uint64_t cookie, struct request **request)
{
	if (tunables.control == CONTROL_SHUTDOWN)
		return -EAGAIN;
	*request = request_by_cookie(cookie);
	return *request && (*request)->active ? 0 : -ENOENT;
}

static void check_begin(const struct sim_begin *call, const struct request *request)
{
	if (!request || request->action == HSMA_CANCEL)
		return;
	if (call->call.registration && request->live_registration == call->call.registration)
		violation("begin twice on cookie 0x%llx, whose handle is live", (unsigned long long)call->cookie);
	/* A CANCEL that crossed the end of its action is answered for a cookie that this process ended. */
	if (call->action != HSMA_CANCEL && call->call.registration &&
	    request->ended_registration == call->call.registration)
		violation("begin on cookie 0x%llx, which this process has ended",
			  (unsigned long long)call->cookie);
}

static int begin_archive(struct sim_begin *call, struct request *request, struct blocked **wake)
{
	const struct inode *inode = inode_by_fid(&call->fid);

	if (!inode) { /* the client reports the failure by itself */
		request_finish(request, FAILED, wake);
		return -ENOENT;
	}
	call->data_version = inode->data_version;
	return 0;
}

static int begin_restore(struct sim_begin *call, struct request *request, struct blocked **wake)
{
	const struct inode *inode = inode_by_fid(&call->fid);
	struct inode *made;

	if (call->mdt_index != -1 && call->mdt_index != 0)
		return -EINVAL;
	if (!inode) {
		request_finish(request, FAILED, wake);
		return -ENOENT;
	}
	made = inode_new(S_IFREG | 0600, inode->uid, inode->gid);
	made->volatile_state = VOLATILE_LIVE;
	made->volatile_unopened = true;
	made->opens = 1;
	call->volatile_fid = inode_fid(made);
	return 0;
}

void action_begin(struct sim_begin *call, struct blocked **wake)
{
	struct request *request = request_by_cookie(call->cookie);
	int rc = 0;

	if (call->is_error || call->action != HSMA_CANCEL)
		check_begin(call, request);
	if (!call->is_error && call->action == HSMA_CANCEL) {
		violation("begin without is_error on a CANCEL item, cookie 0x%llx",
			  (unsigned long long)call->cookie);
		rc = -EINVAL;
	} else if (!call->is_error && call->action != HSMA_REMOVE) {
		rc = running(call->cookie, &request);
		if (rc == 0 && request->canceled)
			rc = -ECANCELED;
		if (rc == 0) {
			request_touch(request);
			if (call->action == HSMA_ARCHIVE)
				rc = begin_archive(call, request, wake);
			else if (call->action == HSMA_RESTORE)
				rc = begin_restore(call, request, wake);
			else
				rc = -EINVAL;
		}
	}
	if (rc == 0 && request && request->active)
		request->live_registration = call->call.registration;
	call->call.rc = rc;
}

/*
 * The server remembers the volatile file of whoever reported on a restore first. Another process that took the
 * restore up again writes to a volatile file of its own, and is refused.
 */
static int claim_volatile(struct request *request, const struct sim_progress *call)
{
	if (request->action != HSMA_RESTORE || call->is_error)
		return 0;
	if (request->volatile_fid.f_seq && !fid_equal(&request->volatile_fid, &call->volatile_fid))
		return -EINVAL;
	request->volatile_fid = request->dfid = call->volatile_fid;
	return 0;
}

void action_progress(struct sim_progress *call)
{
	struct request *request;
	int rc;

	if (!cookie_was_issued(call->cookie))
		violation("progress on cookie 0x%llx, which was never issued", (unsigned long long)call->cookie);
	if (call->is_error)
		violation("progress on a handle begun with is_error, cookie 0x%llx",
			  (unsigned long long)call->cookie);
	rc = running(call->cookie, &request);
	if (rc == 0 && request->canceled)
		rc = -ECANCELED;
	if (rc == 0)
		rc = claim_volatile(request, call);
	if (rc == 0) {
		request_touch(request);
		request->moved += call->extent.length;
	}
	call->call.rc = rc;
}

static void end_volatile(const struct sim_progress *call)
{
	struct inode *file = call->volatile_fid.f_seq ? inode_by_fid(&call->volatile_fid) : NULL;

	if (file && file->volatile_state == VOLATILE_LIVE)
		file->volatile_state = VOLATILE_ENDED;
	if (file && file->volatile_unopened) {
		file->volatile_unopened = false;
		file->opens--;
		inode_put_if_unused(file);
	}
}

/* The volatile file's content becomes the released file's; times stay as they are. */
static int swap_content(const struct sim_progress *call)
{
	struct inode *file = inode_by_fid(&call->fid);
	struct inode *source = inode_by_fid(&call->volatile_fid);

	if (call->is_error || !source)
		return -EINVAL;
	if (!file)
		return 0; /* unlinked meanwhile */
	object_drop(file);
	file->object = source->object;
	file->size = source->size;
	file->hsm_flags &= ~(uint32_t)HS_RELEASED;
	file->data_version = next_data_version();
	source->object = NULL;
	if (file->object) {
		file->object->owner = file;
		object_idle(file);
	}
	return 0;
}

static int succeed(struct request *request, const struct sim_progress *call)
{
	struct inode *file = inode_by_fid(&request->fid);

	switch (request->action) {
	case HSMA_ARCHIVE:
		if (!file)
			return 0;
		if (call->is_error || file->data_version != call->data_version) {
			file->hsm_flags |= HS_DIRTY;
			return -EBUSY;
		}
		file->hsm_flags = (file->hsm_flags | HS_EXISTS | HS_ARCHIVED) & ~(uint32_t)(HS_DIRTY | HS_LOST);
		file->archive_id = request->archive_id;
		return 0;
	case HSMA_RESTORE:
		return swap_content(call);
	default:
		if (file)
			file->hsm_flags = 0;
		return 0;
	}
}

static void check_end(const struct sim_progress *call, const struct request *request)
{
	if (call->errval < 0 || call->errval > 126)
		violation("end with errno %d on cookie 0x%llx: not a small, positive one", call->errval,
			  (unsigned long long)call->cookie);
	if (call->errval == ENOSYS)
		violation("end with ENOSYS on cookie 0x%llx: the server takes it for 'cannot cancel'",
			  (unsigned long long)call->cookie);
	if (request && call->action != HSMA_CANCEL && call->call.registration &&
	    request->ended_registration == call->call.registration)
		violation("item with cookie 0x%llx ended twice", (unsigned long long)call->cookie);
}

/* What the records show after an end with an error. */
static void fail(struct request *request, const struct sim_progress *call, struct blocked **wake)
{
	if (call->errval != ECANCELED && (call->hp_flags & HP_FLAG_RETRY) && !tunables.no_retry &&
	    !request->canceled) {
		request_retry(request);
		return;
	}
	if (request->cancel && request->cancel->status == STARTED && call->errval != ECANCELED)
		request_finish(request->cancel, FAILED, wake);
	request_finish(request, call->errval == ECANCELED || request->canceled ? CANCELED : FAILED, wake);
}

/* The library gives the handle up with the end, whatever the end's answer is. */
void action_handle_gone(const struct sim_progress *call)
{
	struct request *request = request_by_cookie(call->cookie);

	if (request && request->live_registration == call->call.registration)
		request->live_registration = 0;
	end_volatile(call);
}

void action_end(struct sim_progress *call, struct blocked **wake)
{
	struct request *request = request_by_cookie(call->cookie);
	int rc;

	check_end(call, request);
	rc = running(call->cookie, &request);
	if (rc == 0 && request->status > STARTED) {
		/* Purged: the record is final, only the coordinator's memory ends here. */
		request_finish(request, request->status, wake);
		request->ended_registration = call->call.registration;
	} else if (rc == 0) {
		rc = claim_volatile(request, call);
		if (rc == 0 && call->errval == 0) {
			rc = succeed(request, call);
			if (rc != -EINVAL)
				request_finish(request, rc ? FAILED : SUCCEED, wake);
		} else if (rc == 0) {
			fail(request, call, wake);
		}
		if (rc != -EINVAL && request->status > STARTED)
			request->ended_registration = call->call.registration;
	}
	call->call.rc = rc;
	action_handle_gone(call);
}
