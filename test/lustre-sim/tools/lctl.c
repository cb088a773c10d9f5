/*
 * lctl: get_param and set_param of the simulated metadata server and of the simulator. The file system is the
 * only one that is mounted, or the one whose control socket LUSTRE_SIM_SOCKET names.
 */
#include "../sim-proto.h"
#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static int usage(void)
{
	fprintf(stderr, "usage: lctl get_param [-n] NAME...\n"
			"       lctl set_param NAME=VALUE...\n"
			"       lctl wait MILLISECONDS CONDITION\n");
	return 1;
}

static bool find_socket(char *path, size_t size)
{
	const char *given = getenv("LUSTRE_SIM_SOCKET");
	FILE *mounts = setmntent("/proc/mounts", "r");
	struct mntent *entry;
	ssize_t got = 0;

	if (given) {
		snprintf(path, size, "%s", given);
		got = 1;
	}
	while (got <= 0 && mounts && (entry = getmntent(mounts)))
		if (strcmp(entry->mnt_type, "fuse.lustre-sim") == 0) {
			got = getxattr(entry->mnt_dir, SIM_XATTR_SOCKET, path, size - 1);
			if (got > 0)
				path[got] = '\0';
		}
	if (mounts)
		endmntent(mounts);
	if (got <= 0)
		fprintf(stderr, "lctl: no simulated Lustre is mounted here\n");
	return got > 0;
}

/* Sends one line, gives the answer's text (to be freed), returns its errno. */
static int ask(const char *line, char **text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = EPROTO;
	size_t size = 0;
	FILE *stream;

	*text = NULL;
	if (!find_socket(address.sun_path, sizeof(address.sun_path)))
		return ENODEV;
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		error = errno;
		fprintf(stderr, "lctl: %s: %s\n", address.sun_path, strerror(error));
		return error;
	}
	stream = fdopen(fd, "r+");
	if (!stream)
		return errno;
	fprintf(stream, "%s\n", line);
	fflush(stream);
	if (fscanf(stream, "%d %zu", &error, &size) == 2 && fgetc(stream) == '\n') {
		*text = calloc(1, size + 1);
		if (!*text || fread(*text, 1, size, stream) != size)
			error = EPROTO;
	}
	fclose(stream);
	return error;
}

/* "mdt.*." is printed with the server's name, as the real command does. */
static void print_name(const char *name)
{
	char *fsname = NULL;

	if (strncmp(name, "mdt.*.", 6) == 0 && ask("get sim.fsname", &fsname) == 0)
		printf("mdt.%s-MDT0000.%s=", fsname, name + 6);
	else
		printf("%s=", name);
	free(fsname);
}

static int get(const char *name, bool bare)
{
	char line[512], *text;
	int error;

	snprintf(line, sizeof(line), "get %s", name);
	error = ask(line, &text);
	if (error)
		fprintf(stderr, "error: get_param: param_path '%s': %s\n", name, strerror(error));
	if (!error) {
		if (!bare)
			print_name(name);
		if (!bare && strchr(text, '\n'))
			printf("\n");
		printf("%s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
	}
	free(text);
	return error;
}

static int set(const char *assignment)
{
	size_t size = strlen(assignment) + 8;
	char *line = malloc(size), *text;
	int error;

	snprintf(line, size, "set %s", assignment);
	error = ask(line, &text);
	if (error)
		fprintf(stderr, "error: set_param: setting %s: %s%s%s\n", assignment, strerror(error),
			text && *text ? ": " : "", text ? text : "");
	else
		printf("%s\n", assignment);
	free(text);
	free(line);
	return error;
}

int main(int argc, char **argv)
{
	bool bare = argc > 2 && strcmp(argv[2], "-n") == 0;
	char line[512], *text;
	int error = 0;

	if (argc < 3)
		return usage();
	if (strcmp(argv[1], "get_param") == 0) {
		for (int i = bare ? 3 : 2; i < argc; i++)
			error |= get(argv[i], bare);
		return error ? 1 : 0;
	}
	if (strcmp(argv[1], "set_param") == 0) {
		for (int i = 2; i < argc; i++)
			error |= set(argv[i]);
		return error ? 1 : 0;
	}
	if (strcmp(argv[1], "wait") == 0 && argc == 4) {
		snprintf(line, sizeof(line), "wait %s %s", argv[2], argv[3]);
		error = ask(line, &text);
		if (error)
			fprintf(stderr, "lctl: wait: %s\n", text && *text ? text : strerror(error));
		free(text);
		return error ? 1 : 0;
	}
	return usage();
}
