/*
 * Prints what the C compiler makes of the structs and numbers that the binding knows, one fact a line:
 * "<name> <value>". struct-layout.test.ts compiles it and compares. With the real headers where they are installed,
 * else with the simulator's own (-I test/lustre-sim).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/ioctl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#if __has_include(<lustre/lustreapi.h>)
#include <lustre/lustreapi.h>
#else
#include "lustreapi.h"
#endif

#define SIZE(type) printf("sizeof.%s %zu\n", #type, sizeof(struct type))
#define FIELD(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field))
#define NUMBER(name) printf("%s %llu\n", #name, (unsigned long long)(name))

static void structs(void)
{
	SIZE(lu_fid);
	FIELD(lu_fid, f_seq);
	FIELD(lu_fid, f_oid);
	FIELD(lu_fid, f_ver);
	SIZE(hsm_extent);
	FIELD(hsm_extent, offset);
	FIELD(hsm_extent, length);
	SIZE(hsm_action_list);
	FIELD(hsm_action_list, hal_version);
	FIELD(hsm_action_list, hal_count);
	FIELD(hsm_action_list, hal_compound_id);
	FIELD(hsm_action_list, hal_flags);
	FIELD(hsm_action_list, hal_archive_id);
	FIELD(hsm_action_list, hal_fsname);
	SIZE(hsm_action_item);
	FIELD(hsm_action_item, hai_len);
	FIELD(hsm_action_item, hai_action);
	FIELD(hsm_action_item, hai_fid);
	FIELD(hsm_action_item, hai_dfid);
	FIELD(hsm_action_item, hai_extent);
	FIELD(hsm_action_item, hai_cookie);
	FIELD(hsm_action_item, hai_gid);
	FIELD(hsm_action_item, hai_data);
	SIZE(hsm_user_state);
	FIELD(hsm_user_state, hus_states);
	FIELD(hsm_user_state, hus_archive_id);
	FIELD(hsm_user_state, hus_in_progress_state);
	FIELD(hsm_user_state, hus_in_progress_action);
	FIELD(hsm_user_state, hus_in_progress_location);
	SIZE(hsm_current_action);
	FIELD(hsm_current_action, hca_state);
	FIELD(hsm_current_action, hca_action);
	FIELD(hsm_current_action, hca_location);
	SIZE(hsm_request);
	FIELD(hsm_request, hr_action);
	FIELD(hsm_request, hr_archive_id);
	FIELD(hsm_request, hr_flags);
	FIELD(hsm_request, hr_itemcount);
	FIELD(hsm_request, hr_data_len);
	SIZE(hsm_user_item);
	FIELD(hsm_user_item, hui_fid);
	FIELD(hsm_user_item, hui_extent);
#ifdef LL_IOC_FUTIMES_3 /* the simulator's header has none */
	SIZE(ll_futimes_3);
	FIELD(ll_futimes_3, lfu_atime_sec);
	FIELD(ll_futimes_3, lfu_atime_nsec);
	FIELD(ll_futimes_3, lfu_mtime_sec);
	FIELD(ll_futimes_3, lfu_mtime_nsec);
	FIELD(ll_futimes_3, lfu_ctime_sec);
	FIELD(ll_futimes_3, lfu_ctime_nsec);
#endif
	SIZE(statx);
	FIELD(statx, stx_nlink);
	FIELD(statx, stx_uid);
	FIELD(statx, stx_gid);
	FIELD(statx, stx_mode);
	FIELD(statx, stx_ino);
	FIELD(statx, stx_size);
	FIELD(statx, stx_blocks);
	FIELD(statx, stx_atime);
	FIELD(statx, stx_ctime);
	FIELD(statx, stx_mtime);
	FIELD(statx, stx_dev_major);
	FIELD(statx, stx_dev_minor);
	SIZE(stat);
	FIELD(stat, st_mode);
	FIELD(stat, st_uid);
	FIELD(stat, st_gid);
	FIELD(stat, st_size);
	FIELD(stat, st_atim);
	FIELD(stat, st_mtim);
	FIELD(stat, st_ctim);
}

static void numbers(void)
{
	NUMBER(HSMA_NONE);
	NUMBER(HSMA_ARCHIVE);
	NUMBER(HSMA_RESTORE);
	NUMBER(HSMA_REMOVE);
	NUMBER(HSMA_CANCEL);
	NUMBER(HUA_NONE);
	NUMBER(HUA_ARCHIVE);
	NUMBER(HUA_RESTORE);
	NUMBER(HUA_RELEASE);
	NUMBER(HUA_REMOVE);
	NUMBER(HUA_CANCEL);
	NUMBER(HS_EXISTS);
	NUMBER(HS_DIRTY);
	NUMBER(HS_RELEASED);
	NUMBER(HS_ARCHIVED);
	NUMBER(HS_NORELEASE);
	NUMBER(HS_NOARCHIVE);
	NUMBER(HS_LOST);
	NUMBER(HP_FLAG_COMPLETED);
	NUMBER(HP_FLAG_RETRY);
	NUMBER(HPS_NONE);
	NUMBER(HPS_WAITING);
	NUMBER(HPS_RUNNING);
	NUMBER(HPS_DONE);
	NUMBER(HSM_FORCE_ACTION);
	NUMBER(HSM_GHOST_COPY);
	NUMBER(HSM_REQ_BLOCKING);
	NUMBER(LL_DV_RD_FLUSH);
	NUMBER(LL_DV_WR_FLUSH);
	NUMBER(F_SETFD);
	NUMBER(FD_CLOEXEC);
	NUMBER(O_CLOEXEC);
	NUMBER(O_NONBLOCK);
	NUMBER(O_PATH);
	NUMBER(LOCK_EX);
	NUMBER(LOCK_NB);
	NUMBER(POLLIN);
	NUMBER(POLLHUP);
	NUMBER(AT_EMPTY_PATH);
	NUMBER(AT_STATX_DONT_SYNC);
	NUMBER(STATX_BASIC_STATS);
	NUMBER(SEEK_DATA);
	NUMBER(SEEK_HOLE);
	NUMBER(AF_UNIX);
	NUMBER(SOCK_DGRAM);
	NUMBER(SOCK_CLOEXEC);
	NUMBER(MSG_NOSIGNAL);
	NUMBER(MSG_DONTWAIT);
	printf("AT_FDCWD %d\n", AT_FDCWD);
	NUMBER(AT_SYMLINK_NOFOLLOW);
	NUMBER(UTIME_OMIT);
	printf("TIMESPEC_BYTES %zu\n", sizeof(struct timespec));
	printf("SUN_PATH_BYTES %zu\n", sizeof(((struct sockaddr_un *)0)->sun_path));
	printf("POLLFD_BYTES %zu\n", sizeof(struct pollfd));
#ifndef LL_IOC_FUTIMES_3
#define LL_IOC_FUTIMES_3 _IOWR('f', 176, char[48])
#endif
	NUMBER(LL_IOC_FUTIMES_3);
}

int main(void)
{
	structs();
	numbers();
	return 0;
}
