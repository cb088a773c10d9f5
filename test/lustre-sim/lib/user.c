/*
 * What is not a copytool's own: states, requests, import, FIDs and paths.
 */
#include "lib.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int open_quietly(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

int llapi_hsm_state_get_fd(int fd, struct hsm_user_state *hus)
{
	struct sim_state call = { 0 };
	int rc = sim_ioctl(fd, SIM_IOC_STATE_GET, &call);

	if (rc == 0)
		*hus = call.state;
	return rc;
}

int llapi_hsm_state_get(const char *path, struct hsm_user_state *hus)
{
	int fd = open_quietly(path), rc;

	if (fd < 0)
		return fd;
	rc = llapi_hsm_state_get_fd(fd, hus);
	close(fd);
	return rc;
}

int llapi_hsm_state_set_fd(int fd, uint64_t setmask, uint64_t clearmask, uint32_t archive_id)
{
	struct sim_state_set call = { .set_mask = setmask, .clear_mask = clearmask, .archive_id = archive_id };

	return sim_ioctl(fd, SIM_IOC_STATE_SET, &call);
}

int llapi_hsm_state_set(const char *path, uint64_t setmask, uint64_t clearmask, uint32_t archive_id)
{
	int fd = open_quietly(path), rc;

	if (fd < 0)
		return fd;
	rc = llapi_hsm_state_set_fd(fd, setmask, clearmask, archive_id);
	close(fd);
	return rc;
}

int llapi_hsm_current_action(const char *path, struct hsm_current_action *hca)
{
	struct sim_current call = { 0 };
	int fd = open_quietly(path), rc;

	if (fd < 0)
		return fd;
	rc = sim_ioctl(fd, SIM_IOC_CURRENT, &call);
	close(fd);
	if (rc == 0)
		*hca = call.current;
	return rc;
}

struct hsm_user_request *llapi_hsm_user_request_alloc(int itemcount, int data_len)
{
	if (itemcount < 0 || data_len < 0)
		return NULL;
	return calloc(1, sim_request_bytes((uint32_t)itemcount, (uint32_t)data_len));
}

int llapi_hsm_request(const char *path, const struct hsm_user_request *request)
{
	const struct hsm_request *header = &request->hur_request;
	uint64_t bytes = sim_request_bytes(header->hr_itemcount, header->hr_data_len);
	struct sim_request call = { 0 };
	int fd, rc;

	if (bytes >= SIM_REQUEST_MAX)
		return -E2BIG;
	fd = open_directory_of(path);
	if (fd < 0)
		return fd;
	memcpy(call.request, request, bytes);
	rc = sim_ioctl(fd, SIM_IOC_REQUEST, &call);
	close(fd);
	return rc;
}

static int import_into(int fd, int archive, const struct stat *st, struct lu_fid *newfid)
{
	struct sim_import call = { .mode = st->st_mode,
				   .uid = st->st_uid,
				   .gid = st->st_gid,
				   .archive_id = (uint32_t)archive,
				   .size = (uint64_t)st->st_size,
				   .atime_s = st->st_atim.tv_sec,
				   .atime_ns = (uint32_t)st->st_atim.tv_nsec,
				   .mtime_s = st->st_mtim.tv_sec,
				   .mtime_ns = (uint32_t)st->st_mtim.tv_nsec };
	int rc = sim_ioctl(fd, SIM_IOC_IMPORT, &call);

	if (rc == 0 && newfid)
		*newfid = call.fid;
	return rc;
}

/*
 * The real one opens without O_EXCL: what is there already has a layout, which is EEXIST, but a link that leads to
 * nothing is followed and the file made where it points.
 */
static int create(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR);
	struct stat st;

	if (fd >= 0 || errno != EEXIST)
		return fd;
	if (stat(path, &st) != 0)
		return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR);
	errno = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
	return -1;
}

int llapi_hsm_import(const char *dst, int archive, const struct stat *st, unsigned long long stripe_size,
		     int stripe_offset, int stripe_count, int stripe_pattern, char *pool_name,
		     struct lu_fid *newfid)
{
	int fd, rc;

	(void)stripe_size;
	(void)stripe_offset;
	(void)stripe_count;
	(void)stripe_pattern;
	(void)pool_name;
	fd = create(dst);
	if (fd < 0) {
		rc = -errno;
		log_error(rc, "cannot create '%s'", dst);
		log_error(rc, "cannot import into '%s'", dst);
		return rc;
	}
	rc = import_into(fd, archive, st, newfid);
	close(fd);
	if (rc) {
		log_error(rc, "cannot import into '%s'", dst);
		unlink(dst);
	}
	return rc;
}

static bool parse_fid(const char *text, struct lu_fid *fid)
{
	unsigned long long seq;

	if (sscanf(text + (*text == '['), "0x%llx:0x%x:0x%x", &seq, &fid->f_oid, &fid->f_ver) != 3)
		return false;
	fid->f_seq = seq;
	return true;
}

int llapi_fid2path(const char *device, const char *fidstr, char *path, int pathlen, long long *recno,
		   int *linkno)
{
	struct sim_fid2path call = { .linkno = linkno ? *linkno : 0 };
	int fd, rc;

	(void)recno;
	if (!parse_fid(fidstr, &call.fid))
		return -EINVAL;
	fd = open_directory_of(device);
	if (fd < 0)
		return fd;
	rc = sim_ioctl(fd, SIM_IOC_FID2PATH, &call);
	close(fd);
	if (rc)
		return rc;
	if (strlen(call.path) >= (size_t)pathlen)
		return -EOVERFLOW;
	strcpy(path, call.path);
	if (linkno)
		*linkno = call.linkno;
	return 0;
}

/* As an attribute, it works on symlinks and FIFOs too. */
int llapi_path2fid(const char *path, struct lu_fid *fid)
{
	ssize_t got = lgetxattr(path, SIM_XATTR_FID, fid, sizeof(*fid));

	if (got == sizeof(*fid))
		return 0;
	return got < 0 && errno != ENODATA && errno != EOPNOTSUPP ? -errno : -ENOTTY;
}

int llapi_fd2fid(int fd, struct lu_fid *fid)
{
	struct sim_fid call = { 0 };
	int rc = sim_ioctl(fd, SIM_IOC_FID, &call);

	if (rc == 0)
		*fid = call.fid;
	return rc;
}

int llapi_open_by_fid(const char *dir, const struct lu_fid *fid, int open_flags)
{
	struct sim_fault_call call = { .name = "open_by_fid", .fid = *fid };
	char path[80];
	int dir_fd = open_directory_of(dir), rc, fd;

	if (dir_fd < 0)
		return dir_fd;
	rc = sim_ioctl(dir_fd, SIM_IOC_FAULT, &call);
	snprintf(path, sizeof(path), ".lustre/fid/[0x%llx:0x%x:0x%x]", (unsigned long long)fid->f_seq, fid->f_oid,
		 fid->f_ver);
	fd = rc ? rc : openat(dir_fd, path, open_flags);
	if (!rc && fd < 0)
		fd = -errno;
	close(dir_fd);
	return fd;
}

int llapi_get_mdt_index_by_fid(int fd, const struct lu_fid *fid, int *mdt_index)
{
	struct sim_fid call = { .fid = *fid };
	int rc = sim_ioctl(fd, SIM_IOC_MDT_INDEX, &call);

	if (rc == 0)
		*mdt_index = (int)call.mdt_index;
	return rc;
}

int llapi_get_data_version(int fd, uint64_t *data_version, uint64_t flags)
{
	struct sim_data_version call = { 0 };
	int rc;

	(void)flags; /* nothing is cached anywhere */
	rc = sim_ioctl(fd, SIM_IOC_DATA_VERSION, &call);
	if (rc == 0)
		*data_version = call.data_version;
	return rc;
}

int llapi_search_fsname(const char *pathname, char *fsname)
{
	char name[16];
	ssize_t got = getxattr(pathname, SIM_XATTR_FSNAME, name, sizeof(name) - 1);

	if (got < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? -ENODEV : -errno;
	name[got] = '\0';
	strcpy(fsname, name);
	return 0;
}
