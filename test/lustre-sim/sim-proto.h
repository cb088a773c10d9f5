/*
 * How the library (lib/) talks to the program (sim/): ioctls on files and directories of the mount for the
 * calls, a unix socket for the passing of a copytool's pipe, and framed messages in that pipe. Private to the
 * simulator.
 */
#ifndef LUSTRE_SIM_PROTO_H
#define LUSTRE_SIM_PROTO_H

#include "lustreapi.h"
#include <sys/ioctl.h>

/* The pipe carries this header, then `length` bytes of an action list. */
#define SIM_PIPE_MAGIC 0x4c53494du
enum sim_message_type { SIM_MESSAGE_LIST = 1, SIM_MESSAGE_SHUTDOWN = 2 };

struct sim_message_header {
	uint32_t magic;
	uint32_t type;
	uint32_t length;
	uint32_t padding;
};

#define SIM_RECEIVE_MAX (1 << 20)
#define SIM_REQUEST_MAX 1706 /* a request of this many bytes or more is too big */

/* One request's size on the wire: a header, the items, the data. */
static inline uint64_t sim_request_bytes(uint32_t items, uint32_t data_len)
{
	return sizeof(struct hsm_request) + (uint64_t)items * sizeof(struct hsm_user_item) + data_len;
}

/*
 * Every ioctl's argument opens with this. The answer is in rc (0 or -errno). A delay_ms other than 0 asks the
 * library to sleep so long and to call again with delayed = 1: an injected delay blocks the caller, not the
 * simulator.
 */
struct sim_call {
	uint64_t registration; /* which copytool calls, 0 for everybody else */
	int32_t rc;
	uint32_t delay_ms;
	uint32_t delayed;
	uint32_t padding;
};

struct sim_info {
	struct sim_call call;
	uint32_t mount_index;
	uint32_t padding;
	char socket_path[108];
	char flags_path[108]; /* one page, its first word is the number of faults that are set */
	char fsname[16];
};

struct sim_begin {
	struct sim_call call;
	struct lu_fid fid;
	uint64_t cookie;
	uint32_t action;
	uint32_t is_error;
	int32_t mdt_index;
	uint32_t padding;
	struct lu_fid volatile_fid; /* out, restore */
	uint64_t data_version;      /* out, archive */
};

struct sim_progress {
	struct sim_call call;
	struct lu_fid fid;
	struct lu_fid volatile_fid;
	uint64_t cookie;
	struct hsm_extent extent;
	uint64_t data_version;
	uint32_t action;
	uint32_t is_error;
	uint32_t hp_flags;
	int32_t errval;
};

struct sim_fault_call {
	struct sim_call call;
	struct lu_fid fid;
	uint32_t action;
	uint32_t padding;
	char name[24];
};

struct sim_violation {
	struct sim_call call;
	char text[256];
};

struct sim_request {
	struct sim_call call;
	char request[SIM_REQUEST_MAX + 6]; /* a struct hsm_user_request and its data */
};

struct sim_state {
	struct sim_call call;
	struct hsm_user_state state;
};

struct sim_state_set {
	struct sim_call call;
	uint64_t set_mask;
	uint64_t clear_mask;
	uint32_t archive_id;
	uint32_t padding;
};

struct sim_current {
	struct sim_call call;
	struct hsm_current_action current;
};

struct sim_fid {
	struct sim_call call;
	struct lu_fid fid;
	uint32_t mdt_index;
	uint32_t padding;
};

struct sim_fid2path {
	struct sim_call call;
	struct lu_fid fid;
	int32_t linkno;
	int32_t padding;
	char path[4096];
};

struct sim_data_version {
	struct sim_call call;
	uint64_t data_version;
};

struct sim_import {
	struct sim_call call;
	struct lu_fid fid; /* out */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t archive_id;
	uint64_t size;
	int64_t atime_s;
	int64_t mtime_s;
	uint32_t atime_ns;
	uint32_t mtime_ns;
};

struct sim_unregister {
	struct sim_call call;
};

#define SIM_IOC_INFO _IOWR('L', 1, struct sim_info)
#define SIM_IOC_BEGIN _IOWR('L', 2, struct sim_begin)
#define SIM_IOC_PROGRESS _IOWR('L', 3, struct sim_progress)
#define SIM_IOC_END _IOWR('L', 4, struct sim_progress)
#define SIM_IOC_UNREGISTER _IOWR('L', 5, struct sim_unregister)
#define SIM_IOC_FAULT _IOWR('L', 6, struct sim_fault_call)
#define SIM_IOC_VIOLATION _IOWR('L', 7, struct sim_violation)
#define SIM_IOC_REQUEST _IOWR('L', 8, struct sim_request)
#define SIM_IOC_STATE_GET _IOWR('L', 9, struct sim_state)
#define SIM_IOC_STATE_SET _IOWR('L', 10, struct sim_state_set)
#define SIM_IOC_CURRENT _IOWR('L', 11, struct sim_current)
#define SIM_IOC_FID _IOWR('L', 12, struct sim_fid)
#define SIM_IOC_FID2PATH _IOWR('L', 13, struct sim_fid2path)
#define SIM_IOC_DATA_VERSION _IOWR('L', 14, struct sim_data_version)
#define SIM_IOC_IMPORT _IOWR('L', 15, struct sim_import)
#define SIM_IOC_MDT_INDEX _IOWR('L', 16, struct sim_fid)

/* Extended attributes that every inode answers, listed nowhere. */
#define SIM_XATTR_SOCKET "lustre.sim"      /* the control socket's path */
#define SIM_XATTR_FSNAME "lustre.fsname"   /* the file system's name */
#define SIM_XATTR_FID "lustre.fid"         /* the inode's struct lu_fid */

#endif
