/*
 * The simulator's own declaration of the part of liblustreapi that an HSM copytool uses. It is written from
 * the interface's published facts (names, sizes, offsets, values), so that a program compiled against it runs
 * with the simulator's library and with the real one alike. The layout is little endian, LP64.
 */
#ifndef LUSTRE_SIM_LUSTREAPI_H
#define LUSTRE_SIM_LUSTREAPI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lu_fid {
	uint64_t f_seq;
	uint32_t f_oid;
	uint32_t f_ver;
};

struct hsm_extent {
	uint64_t offset;
	uint64_t length;
};

/* What a copytool is told to do. */
enum hsm_copytool_action {
	HSMA_NONE = 10,
	HSMA_ARCHIVE = 20,
	HSMA_RESTORE = 21,
	HSMA_REMOVE = 22,
	HSMA_CANCEL = 23,
};

/* What a user asks for. */
enum hsm_user_action {
	HUA_NONE = 1,
	HUA_ARCHIVE = 10,
	HUA_RESTORE = 11,
	HUA_RELEASE = 12,
	HUA_REMOVE = 13,
	HUA_CANCEL = 14,
};

enum hsm_states {
	HS_NONE = 0x0,
	HS_EXISTS = 0x1,
	HS_DIRTY = 0x2,
	HS_RELEASED = 0x4,
	HS_ARCHIVED = 0x8,
	HS_NORELEASE = 0x10,
	HS_NOARCHIVE = 0x20,
	HS_LOST = 0x40,
};

enum hsm_progress_states {
	HPS_NONE = 0,
	HPS_WAITING = 1,
	HPS_RUNNING = 2,
	HPS_DONE = 3,
};

/* Flags of a progress report. */
#define HP_FLAG_COMPLETED 0x1
#define HP_FLAG_RETRY 0x2

/* Flags of a request and of an action list. */
#define HSM_FORCE_ACTION 0x1
#define HSM_GHOST_COPY 0x2
#define HSM_REQ_BLOCKING 0x4

/* Flags of llapi_get_data_version. */
#define LL_DV_RD_FLUSH 0x1
#define LL_DV_WR_FLUSH 0x2

struct hsm_action_item {
	uint32_t hai_len; /* header and data, without the padding to 8 */
	uint32_t hai_action;
	struct lu_fid hai_fid;
	struct lu_fid hai_dfid;
	struct hsm_extent hai_extent;
	uint64_t hai_cookie;
	uint64_t hai_gid;
	char hai_data[];
};

struct hsm_action_list {
	uint32_t hal_version;
	uint32_t hal_count;
	uint64_t hal_compound_id;
	uint64_t hal_flags;
	uint32_t hal_archive_id;
	uint32_t padding1;
	char hal_fsname[]; /* ends in NUL; the first item starts at the next multiple of 8 */
};

struct hsm_user_state {
	uint32_t hus_states;
	uint32_t hus_archive_id;
	uint32_t hus_in_progress_state;
	uint32_t hus_in_progress_action;
	struct hsm_extent hus_in_progress_location;
};

struct hsm_current_action {
	uint32_t hca_state;
	uint32_t hca_action;
	struct hsm_extent hca_location;
};

struct hsm_request {
	uint32_t hr_action;
	uint32_t hr_archive_id;
	uint64_t hr_flags;
	uint32_t hr_itemcount;
	uint32_t hr_data_len;
};

struct hsm_user_item {
	struct lu_fid hui_fid;
	struct hsm_extent hui_extent;
};

struct hsm_user_request {
	struct hsm_request hur_request;
	struct hsm_user_item hur_user_item[]; /* then hr_data_len bytes of data */
};

struct changelog_rec {
	uint16_t cr_namelen;
	uint16_t cr_flags;
	uint32_t cr_type;
	uint64_t cr_index;
	uint64_t cr_prev;
	uint64_t cr_time;
	struct lu_fid cr_tfid;
	struct lu_fid cr_pfid;
};

struct hsm_copytool_private;
struct hsm_copyaction_private;

enum llapi_message_level {
	LLAPI_MSG_OFF = 0,
	LLAPI_MSG_FATAL = 1,
	LLAPI_MSG_ERROR = 2,
	LLAPI_MSG_WARN = 3,
	LLAPI_MSG_NORMAL = 4,
	LLAPI_MSG_INFO = 5,
	LLAPI_MSG_DEBUG = 6,
	LLAPI_MSG_MAX
};

typedef void (*llapi_log_callback_t)(enum llapi_message_level level, int err, const char *fmt, va_list ap);

void llapi_msg_set_level(int level);
int llapi_msg_get_level(void);
llapi_log_callback_t llapi_error_callback_set(llapi_log_callback_t callback);
llapi_log_callback_t llapi_info_callback_set(llapi_log_callback_t callback);

int llapi_hsm_copytool_register(struct hsm_copytool_private **priv, const char *mnt, int archive_count,
				int *archives, int rfd_flags);
int llapi_hsm_copytool_unregister(struct hsm_copytool_private **priv);
int llapi_hsm_copytool_get_fd(struct hsm_copytool_private *ct);
int llapi_hsm_copytool_recv(struct hsm_copytool_private *ct, struct hsm_action_list **hal, int *msgsize);

int llapi_hsm_action_begin(struct hsm_copyaction_private **phcp, const struct hsm_copytool_private *ct,
			   const struct hsm_action_item *hai, int restore_mdt_index, int restore_open_flags,
			   bool is_error);
int llapi_hsm_action_end(struct hsm_copyaction_private **phcp, const struct hsm_extent *he, int hp_flags,
			 int errval);
int llapi_hsm_action_progress(struct hsm_copyaction_private *hcp, const struct hsm_extent *he, uint64_t total,
			      int hp_flags);
int llapi_hsm_action_get_dfid(const struct hsm_copyaction_private *hcp, struct lu_fid *fid);
int llapi_hsm_action_get_fd(const struct hsm_copyaction_private *hcp);

int llapi_hsm_import(const char *dst, int archive, const struct stat *st, unsigned long long stripe_size,
		     int stripe_offset, int stripe_count, int stripe_pattern, char *pool_name,
		     struct lu_fid *newfid);

int llapi_hsm_state_get_fd(int fd, struct hsm_user_state *hus);
int llapi_hsm_state_get(const char *path, struct hsm_user_state *hus);
int llapi_hsm_state_set_fd(int fd, uint64_t setmask, uint64_t clearmask, uint32_t archive_id);
int llapi_hsm_state_set(const char *path, uint64_t setmask, uint64_t clearmask, uint32_t archive_id);
int llapi_hsm_current_action(const char *path, struct hsm_current_action *hca);

struct hsm_user_request *llapi_hsm_user_request_alloc(int itemcount, int data_len);
int llapi_hsm_request(const char *path, const struct hsm_user_request *request);

int llapi_fid2path(const char *device, const char *fidstr, char *path, int pathlen, long long *recno,
		   int *linkno);
int llapi_path2fid(const char *path, struct lu_fid *fid);
int llapi_fd2fid(int fd, struct lu_fid *fid);
int llapi_open_by_fid(const char *dir, const struct lu_fid *fid, int open_flags);
int llapi_get_mdt_index_by_fid(int fd, const struct lu_fid *fid, int *mdt_index);
int llapi_get_data_version(int fd, uint64_t *data_version, uint64_t flags);
int llapi_search_fsname(const char *pathname, char *fsname);

#ifdef __cplusplus
}
#endif

#endif
