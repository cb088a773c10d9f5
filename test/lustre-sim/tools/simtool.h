/*
 * What the parts of simtool share: the library's functions as they were found, and walking through lists.
 */
#ifndef LUSTRE_SIM_SIMTOOL_H
#define LUSTRE_SIM_SIMTOOL_H

#include "../lustreapi.h"
#include <string.h>

#define API_SYMBOLS(X)                                         \
	X(do_register, "llapi_hsm_copytool_register")          \
	X(unregister, "llapi_hsm_copytool_unregister")         \
	X(get_copytool_fd, "llapi_hsm_copytool_get_fd")        \
	X(recv, "llapi_hsm_copytool_recv")                     \
	X(begin, "llapi_hsm_action_begin")                     \
	X(end, "llapi_hsm_action_end")                         \
	X(progress, "llapi_hsm_action_progress")               \
	X(get_dfid, "llapi_hsm_action_get_dfid")               \
	X(get_fd, "llapi_hsm_action_get_fd")                   \
	X(import, "llapi_hsm_import")                          \
	X(state_get, "llapi_hsm_state_get")                    \
	X(state_set, "llapi_hsm_state_set")                    \
	X(current_action, "llapi_hsm_current_action")          \
	X(request_alloc, "llapi_hsm_user_request_alloc")       \
	X(request, "llapi_hsm_request")                        \
	X(fid2path, "llapi_fid2path")                          \
	X(path2fid, "llapi_path2fid")                          \
	X(fd2fid, "llapi_fd2fid")                              \
	X(open_by_fid, "llapi_open_by_fid")                    \
	X(mdt_index, "llapi_get_mdt_index_by_fid")             \
	X(data_version, "llapi_get_data_version")              \
	X(fsname, "llapi_search_fsname")                       \
	X(msg_level, "llapi_msg_set_level")

struct api {
	__typeof__(llapi_hsm_copytool_register) *do_register;
	__typeof__(llapi_hsm_copytool_unregister) *unregister;
	__typeof__(llapi_hsm_copytool_get_fd) *get_copytool_fd;
	__typeof__(llapi_hsm_copytool_recv) *recv;
	__typeof__(llapi_hsm_action_begin) *begin;
	__typeof__(llapi_hsm_action_end) *end;
	__typeof__(llapi_hsm_action_progress) *progress;
	__typeof__(llapi_hsm_action_get_dfid) *get_dfid;
	__typeof__(llapi_hsm_action_get_fd) *get_fd;
	__typeof__(llapi_hsm_import) *import;
	__typeof__(llapi_hsm_state_get) *state_get;
	__typeof__(llapi_hsm_state_set) *state_set;
	__typeof__(llapi_hsm_current_action) *current_action;
	__typeof__(llapi_hsm_user_request_alloc) *request_alloc;
	__typeof__(llapi_hsm_request) *request;
	__typeof__(llapi_fid2path) *fid2path;
	__typeof__(llapi_path2fid) *path2fid;
	__typeof__(llapi_fd2fid) *fd2fid;
	__typeof__(llapi_open_by_fid) *open_by_fid;
	__typeof__(llapi_get_mdt_index_by_fid) *mdt_index;
	__typeof__(llapi_get_data_version) *data_version;
	__typeof__(llapi_search_fsname) *fsname;
	__typeof__(llapi_msg_set_level) *msg_level;
};
extern struct api api;
extern struct hsm_copytool_private *copytool;
extern const char *copytool_mount;

static inline struct hsm_action_item *first_item(struct hsm_action_list *list)
{
	return (struct hsm_action_item *)((char *)list + sizeof(*list) + ((strlen(list->hal_fsname) + 1 + 7) & ~7ul));
}

static inline struct hsm_action_item *next_item(struct hsm_action_item *item)
{
	return (struct hsm_action_item *)((char *)item + ((item->hai_len + 7ul) & ~7ul));
}

bool parse_fid(const char *text, struct lu_fid *fid);

/* simtool-serve.c */
void serve(const char *archive_dir, int threads);
void print_served(void);
void import_many(const char *dir, int count, int threads);
void read_many(const char *dir, const char *prefix, int count, int threads);

#endif
