/*
 * lfs: the users' HSM commands, with the real command's options, output and exit codes. Many files go in
 * requests of as many as one request takes.
 */
#include "../sim-proto.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXTENT_EOF UINT64_MAX

static const struct {
	uint32_t flag;
	const char *name;
	const char *option;
} states[] = {
	{ HS_RELEASED, "released", NULL },
	{ HS_EXISTS, "exists", "exists" },
	{ HS_DIRTY, "dirty", "dirty" },
	{ HS_ARCHIVED, "archived", "archived" },
	{ HS_NORELEASE, "never_release", "norelease" },
	{ HS_NOARCHIVE, "never_archive", "noarchive" },
	{ HS_LOST, "lost_from_hsm", "lost" },
};
#define STATES (sizeof(states) / sizeof(states[0]))

struct names {
	char **list;
	size_t count;
};

static int usage(void)
{
	fprintf(stderr, "usage: lfs hsm_archive|hsm_restore|hsm_release|hsm_remove|hsm_cancel\n"
			"           [--archive N] [--data DATA] [--filelist FILE] [--mntpath DIR] FILE...\n"
			"       lfs hsm_state|hsm_action FILE...\n"
			"       lfs hsm_set|hsm_clear [--exists] [--dirty] [--archived] [--norelease] [--noarchive]\n"
			"           [--lost] [--archive-id N] FILE...\n"
			"       lfs path2fid FILE...\n"
			"       lfs fid2path DIR FID...\n");
	return 1;
}

static void names_add(struct names *names, const char *name)
{
	names->list = realloc(names->list, (names->count + 1) * sizeof(char *));
	names->list[names->count++] = strdup(name);
}

static int names_from_file(struct names *names, const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	if (!file) {
		fprintf(stderr, "lfs: cannot open '%s': %s\n", path, strerror(errno));
		return -errno;
	}
	while ((length = getline(&line, &room, file)) > 0) {
		if (line[length - 1] == '\n')
			line[--length] = '\0';
		if (length)
			names_add(names, line);
	}
	free(line);
	fclose(file);
	return 0;
}

static bool parse_fid(const char *text, struct lu_fid *fid)
{
	unsigned long long seq;
	int used = 0;

	if (sscanf(text + (*text == '['), "0x%llx:0x%x:0x%x%n", &seq, &fid->f_oid, &fid->f_ver, &used) != 3)
		return false;
	fid->f_seq = seq;
	return used > 0;
}

/* Where a request goes and what it is about. */
static int fid_of(const char *name, const char *mntpath, struct lu_fid *fid)
{
	struct stat st;
	int rc;

	if (mntpath && parse_fid(name, fid))
		return 0;
	if (lstat(name, &st) != 0) {
		rc = -errno;
		fprintf(stderr, "Cannot stat %s: %s\n", name, strerror(-rc));
		return rc;
	}
	if (!S_ISREG(st.st_mode)) {
		fprintf(stderr, "error: %s is not a regular file\n", name);
		return -EINVAL;
	}
	rc = llapi_path2fid(name, fid);
	if (rc)
		fprintf(stderr, "Cannot read FID of %s: %s\n", name, strerror(-rc));
	return rc;
}

static int send_request(struct hsm_user_request *request, const char *name, const char *mntpath)
{
	int rc = llapi_hsm_request(mntpath ? mntpath : name, request);

	if (rc)
		fprintf(stderr, "Cannot send HSM request (use of %s): %s\n", name, strerror(-rc));
	request->hur_request.hr_itemcount = 0;
	return rc;
}

static int request_all(struct names *names, uint32_t action, uint32_t archive_id, const char *data,
		       const char *mntpath)
{
	size_t data_len = data ? strlen(data) : 0;
	size_t batch = 0;
	struct hsm_user_request *request;
	int rc = 0;

	while (sim_request_bytes((uint32_t)batch + 1, (uint32_t)data_len) < SIM_REQUEST_MAX)
		batch++;
	if (!batch) {
		fprintf(stderr, "Cannot send HSM request: the data is too long\n");
		return -E2BIG;
	}
	request = llapi_hsm_user_request_alloc((int)batch, (int)data_len);
	request->hur_request.hr_action = action;
	request->hur_request.hr_archive_id = archive_id;
	request->hur_request.hr_data_len = (uint32_t)data_len;
	for (size_t i = 0; i < names->count && rc == 0; i++) {
		struct hsm_user_item *item = &request->hur_user_item[request->hur_request.hr_itemcount];

		rc = fid_of(names->list[i], mntpath, &item->hui_fid);
		item->hui_extent.offset = 0;
		item->hui_extent.length = EXTENT_EOF;
		if (rc)
			break;
		request->hur_request.hr_itemcount++;
		if (request->hur_request.hr_itemcount == batch || i + 1 == names->count) {
			memcpy(&request->hur_user_item[request->hur_request.hr_itemcount], data ? data : "", data_len);
			rc = send_request(request, names->list[i], mntpath);
		}
	}
	free(request);
	return rc;
}

static int command_request(int argc, char **argv, uint32_t action)
{
	static const struct option options[] = { { "archive", required_argument, NULL, 'a' },
						 { "data", required_argument, NULL, 'D' },
						 { "filelist", required_argument, NULL, 'l' },
						 { "mntpath", required_argument, NULL, 'm' },
						 { NULL, 0, NULL, 0 } };
	const char *data = NULL, *mntpath = NULL;
	struct names names = { 0 };
	uint32_t archive_id = 0;
	int option, rc = 0;
	char *end;

	while ((option = getopt_long(argc, argv, "a:D:l:m:", options, NULL)) != -1) {
		switch (option) {
		case 'a':
			archive_id = (uint32_t)strtoul(optarg, &end, 0);
			if (*end || end == optarg)
				return usage();
			break;
		case 'D':
			data = optarg;
			break;
		case 'l':
			rc = names_from_file(&names, optarg);
			if (rc)
				return -rc;
			break;
		case 'm':
			mntpath = optarg;
			break;
		default:
			return usage();
		}
	}
	for (int i = optind; i < argc; i++)
		names_add(&names, argv[i]);
	if (!names.count)
		return usage();
	return -request_all(&names, action, archive_id, data, mntpath);
}

static int print_state(const char *name)
{
	struct hsm_user_state state;
	int rc = llapi_hsm_state_get(name, &state);

	if (rc) {
		fprintf(stderr, "can't get hsm state for %s: %s\n", name, strerror(-rc));
		return rc;
	}
	printf("%s: (0x%08x)", name, state.hus_states);
	for (size_t i = 0; i < STATES; i++)
		if (state.hus_states & states[i].flag)
			printf(" %s", states[i].name);
	if (state.hus_archive_id)
		printf(", archive_id:%u", state.hus_archive_id);
	printf("\n");
	return 0;
}

static const char *user_action_name(uint32_t action)
{
	switch (action) {
	case HUA_NONE:
		return "NOOP";
	case HUA_ARCHIVE:
		return "ARCHIVE";
	case HUA_RESTORE:
		return "RESTORE";
	case HUA_RELEASE:
		return "RELEASE";
	case HUA_REMOVE:
		return "REMOVE";
	case HUA_CANCEL:
		return "CANCEL";
	default:
		return "UNKNOWN";
	}
}

static int print_action(const char *name)
{
	struct hsm_current_action current;
	int rc = llapi_hsm_current_action(name, &current);

	if (rc) {
		fprintf(stderr, "can't get hsm action for %s: %s\n", name, strerror(-rc));
		return rc;
	}
	printf("%s: %s", name, user_action_name(current.hca_action));
	if (current.hca_state == HPS_RUNNING)
		printf(" running (%llu bytes moved)", (unsigned long long)current.hca_location.length);
	else if (current.hca_state == HPS_WAITING)
		printf(" waiting (from %llu to EOF)", (unsigned long long)current.hca_location.offset);
	printf("\n");
	return 0;
}

static int print_fid(const char *name)
{
	struct lu_fid fid;
	int rc = llapi_path2fid(name, &fid);

	if (rc) {
		fprintf(stderr, "lfs path2fid: can't get fid for %s: %s\n", name, strerror(-rc));
		return rc;
	}
	printf("[0x%llx:0x%x:0x%x]\n", (unsigned long long)fid.f_seq, fid.f_oid, fid.f_ver);
	return 0;
}

static int for_each(int argc, char **argv, int (*print)(const char *))
{
	int rc = 0;

	if (argc < 2)
		return usage();
	for (int i = 1; i < argc; i++) {
		int one = print(argv[i]);

		rc = rc ? rc : one;
	}
	return -rc;
}

static int command_fid2path(int argc, char **argv)
{
	char path[4096];
	int failed = 0;

	if (argc < 3)
		return usage();
	for (int i = 2; i < argc; i++) {
		int linkno = 0, last, rc;

		do {
			long long recno = -1;

			last = linkno;
			rc = llapi_fid2path(argv[1], argv[i], path, sizeof(path), &recno, &linkno);
			if (rc == 0)
				printf("%s\n", path);
		} while (rc == 0 && linkno != last);
		if (rc) {
			fprintf(stderr, "lfs fid2path: cannot find '%s': %s\n", argv[i], strerror(-rc));
			failed = failed ? failed : rc;
		}
	}
	return -failed;
}

static int command_change(int argc, char **argv, bool set)
{
	struct option options[STATES + 2] = { 0 };
	unsigned count = 0;
	uint64_t mask = 0;
	uint32_t archive_id = 0;
	int option, rc = 0;

	for (unsigned i = 0; i < STATES; i++)
		if (states[i].option)
			options[count++] = (struct option){ states[i].option, no_argument, NULL, 1000 + (int)i };
	if (set)
		options[count++] = (struct option){ "archive-id", required_argument, NULL, 'i' };
	while ((option = getopt_long(argc, argv, "i:", options, NULL)) != -1) {
		if (option >= 1000)
			mask |= states[option - 1000].flag;
		else if (option == 'i' && set)
			archive_id = (uint32_t)strtoul(optarg, NULL, 0);
		else
			return usage();
	}
	if (optind >= argc || (!mask && !archive_id))
		return usage();
	for (int i = optind; i < argc && rc == 0; i++) {
		rc = llapi_hsm_state_set(argv[i], set ? mask : 0, set ? 0 : mask, archive_id);
		if (rc)
			fprintf(stderr, "Can't change hsm flags for %s: %s\n", argv[i], strerror(-rc));
	}
	return -rc;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	argc--;
	argv++;
	if (strcmp(command, "hsm_archive") == 0)
		return command_request(argc, argv, HUA_ARCHIVE);
	if (strcmp(command, "hsm_restore") == 0)
		return command_request(argc, argv, HUA_RESTORE);
	if (strcmp(command, "hsm_release") == 0)
		return command_request(argc, argv, HUA_RELEASE);
	if (strcmp(command, "hsm_remove") == 0)
		return command_request(argc, argv, HUA_REMOVE);
	if (strcmp(command, "hsm_cancel") == 0)
		return command_request(argc, argv, HUA_CANCEL);
	if (strcmp(command, "hsm_state") == 0)
		return for_each(argc, argv, print_state);
	if (strcmp(command, "hsm_action") == 0)
		return for_each(argc, argv, print_action);
	if (strcmp(command, "hsm_set") == 0)
		return command_change(argc, argv, true);
	if (strcmp(command, "hsm_clear") == 0)
		return command_change(argc, argv, false);
	if (strcmp(command, "path2fid") == 0)
		return for_each(argc, argv, print_fid);
	if (strcmp(command, "fid2path") == 0)
		return command_fid2path(argc, argv);
	return usage();
}
