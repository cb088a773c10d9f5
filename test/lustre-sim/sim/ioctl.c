/*
 * The library's calls, as ioctls on files and directories of a mount.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fault of a call, if one is set. true: the call is answered, with the fault. */
static bool faulty(struct sim_call *call, const char *name, const struct lu_fid *fid, uint32_t action)
{
	if (!faults_armed || call->delayed)
		return false;
	call->rc = -fault_check(name, fid, action, &call->delay_ms);
	return call->rc || call->delay_ms;
}

static void do_info(const struct mount *mount, struct sim_info *info)
{
	info->mount_index = mount->index;
	memcpy(info->socket_path, sim.socket_path, sizeof(info->socket_path));
	memcpy(info->flags_path, sim.flags_path, sizeof(info->flags_path));
	memcpy(info->fsname, sim.fsname, sizeof(info->fsname));
}

static void do_fid2path(struct sim_fid2path *call)
{
	struct inode *inode = inode_by_fid(&call->fid);
	int links = 0;

	call->call.rc = inode ? inode_path(inode, call->linkno, call->path, sizeof(call->path), &links) : -ENOENT;
	if (call->call.rc == 0 && call->linkno + 1 < links)
		call->linkno++;
}

static void do_state_set(struct inode *inode, uint32_t uid, struct sim_state_set *call)
{
	call->call.rc = hsm_state_set(inode, uid, call->set_mask, call->clear_mask, call->archive_id);
}

static void do_current(struct inode *inode, struct sim_current *call)
{
	struct hsm_user_state state;

	hsm_state_get(inode, &state);
	call->current.hca_state = state.hus_in_progress_state;
	call->current.hca_action = state.hus_in_progress_action ? state.hus_in_progress_action : HUA_NONE;
	call->current.hca_location = state.hus_in_progress_location;
}

/* With the lock held. What shall wake up goes to *wake. */
static int run(struct mount *mount, const struct fuse_ctx *who, struct inode *inode, unsigned cmd, void *argument,
	       struct blocked **wake)
{
	struct sim_call *call = argument;
	struct lu_fid fid = inode_fid(inode);
	uint32_t asked = 0;

	call->rc = 0;
	call->delay_ms = 0;
	switch (cmd) {
	case SIM_IOC_INFO:
		do_info(mount, argument);
		break;
	case SIM_IOC_BEGIN: {
		struct sim_begin *begin = argument;

		/* Faults are for the action; the report of a failure gets through. */
		if (begin->is_error || !faulty(call, "begin", &begin->fid, begin->action))
			action_begin(begin, wake);
		break;
	}
	case SIM_IOC_PROGRESS: {
		struct sim_progress *progress = argument;

		if (!faulty(call, "progress", &progress->fid, progress->action))
			action_progress(progress);
		break;
	}
	case SIM_IOC_END: {
		struct sim_progress *end = argument;

		if (!faulty(call, "end", &end->fid, end->action))
			action_end(end, wake);
		else if (call->rc)
			action_handle_gone(end);
		break;
	}
	case SIM_IOC_UNREGISTER:
		if (!faulty(call, "unregister", NULL, 0))
			call->rc = agent_unregister(mount->index, call->registration);
		break;
	case SIM_IOC_FAULT: {
		struct sim_fault_call *fault = argument;

		fault->name[sizeof(fault->name) - 1] = '\0';
		faulty(call, fault->name, &fault->fid, fault->action);
		break;
	}
	case SIM_IOC_VIOLATION: {
		struct sim_violation *seen = argument;

		seen->text[sizeof(seen->text) - 1] = '\0';
		violation("%s", seen->text);
		break;
	}
	case SIM_IOC_REQUEST: {
		struct sim_request *request = argument;
		const struct hsm_user_request *user = (const void *)request->request;

		if (user->hur_request.hr_action >= HUA_ARCHIVE && user->hur_request.hr_action <= HUA_RESTORE)
			asked = user->hur_request.hr_action + (HSMA_ARCHIVE - HUA_ARCHIVE);
		if (!faulty(call, "request", NULL, asked))
			call->rc = hsm_user_request(who->uid, user, sizeof(request->request));
		break;
	}
	case SIM_IOC_STATE_GET:
		if (!faulty(call, "state_get", &fid, 0))
			hsm_state_get(inode, &((struct sim_state *)argument)->state);
		break;
	case SIM_IOC_STATE_SET:
		if (!faulty(call, "state_set", &fid, 0))
			do_state_set(inode, who->uid, argument);
		break;
	case SIM_IOC_CURRENT:
		if (!faulty(call, "current_action", &fid, 0))
			do_current(inode, argument);
		break;
	case SIM_IOC_FID:
		if (!faulty(call, "fd2fid", &fid, 0))
			((struct sim_fid *)argument)->fid = fid;
		break;
	case SIM_IOC_FID2PATH:
		if (!faulty(call, "fid2path", &((struct sim_fid2path *)argument)->fid, 0))
			do_fid2path(argument);
		break;
	case SIM_IOC_DATA_VERSION:
		if (!faulty(call, "data_version", &fid, 0))
			((struct sim_data_version *)argument)->data_version = inode->data_version;
		break;
	case SIM_IOC_IMPORT:
		if (!faulty(call, "import", &fid, 0))
			call->rc = hsm_import(inode, argument);
		break;
	case SIM_IOC_MDT_INDEX:
		/* One server. As on a real one, the FID's sequence decides: the file need not exist. */
		if (!faulty(call, "mdt_index", &((struct sim_fid *)argument)->fid, 0)) {
			((struct sim_fid *)argument)->mdt_index = 0;
			if (!fid_number(&((struct sim_fid *)argument)->fid))
				call->rc = -ENOENT;
		}
		break;
	default:
		return ENOTTY;
	}
	return 0;
}

/*
 * The one ioctl that is the real client's own: sets atime, mtime and ctime of a regular file, for CAP_SYS_ADMIN only.
 * Six u64: seconds and nanoseconds of each.
 */
#define LL_IOC_FUTIMES_3 _IOWR('f', 176, uint64_t[6])

static void futimes_3(fuse_req_t req, fuse_ino_t node, const void *in_buf, size_t in_bufsz)
{
	struct inode *inode;
	uint64_t times[6];
	int error = 0;

	if (in_bufsz != sizeof(times)) {
		fuse_reply_err(req, EFAULT);
		return;
	}
	memcpy(times, in_buf, sizeof(times));
	lock();
	inode = inode_by_node(node);
	if (!inode)
		error = ENOENT;
	else if (fuse_req_ctx(req)->uid != 0)
		error = EPERM;
	else if (!S_ISREG(inode->mode))
		error = EINVAL;
	if (!error) {
		inode->atime = (struct timespec){ (time_t)times[0], (long)times[1] };
		inode->mtime = (struct timespec){ (time_t)times[2], (long)times[3] };
		inode->ctime = (struct timespec){ (time_t)times[4], (long)times[5] };
	}
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_ioctl(req, 0, times, sizeof(times));
}

void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned int cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in_buf, size_t in_bufsz, size_t out_bufsz)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct mount *mount = mount_of(req);
	struct blocked *wake = NULL;
	struct inode *inode;
	void *argument;
	int error = ENOTTY;

	(void)arg;
	(void)fi;
	(void)flags;
	if (cmd == LL_IOC_FUTIMES_3) {
		futimes_3(req, node, in_buf, in_bufsz);
		return;
	}
	if (in_bufsz < sizeof(struct sim_call) || in_bufsz != out_bufsz || in_bufsz != _IOC_SIZE(cmd)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	argument = xalloc(in_bufsz);
	memcpy(argument, in_buf, in_bufsz);
	lock();
	inode = inode_by_node(node);
	error = inode ? run(mount, who, inode, cmd, argument, &wake) : ENOENT;
	unlock();
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_ioctl(req, 0, argument, out_bufsz);
	free(argument);
	wake_all(wake);
}
