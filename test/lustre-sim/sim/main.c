/*
 * lustre-sim: one simulated Lustre file system with HSM, on one or more mount points.
 * Prints "READY {json}" when all are mounted; ends on SIGTERM or SIGINT, with --supervised also when its parent
 * dies or its standard input ends, and takes the mounts away.
 */
#include "sim.h"
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct sim sim;
pthread_mutex_t sim_lock = PTHREAD_MUTEX_INITIALIZER;
static bool own_work_dir;
static const char *scratch; /* a directory that goes away with us, whatever is in it */
static atomic_uint mounts_left;

static void die(const char *what)
{
	fprintf(stderr, "lustre-sim: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void usage(void)
{
	fprintf(stderr, "usage: lustre-sim [--fsname NAME] [--work-dir DIR] [--set NAME=VALUE]... [--supervised] "
			"[--scratch DIR] MOUNTPOINT...\n");
	exit(2);
}

static void make_work_dir(const char *given)
{
	char path[PATH_MAX];
	int fd;

	if (given) {
		if (!realpath(given, path) || strlen(path) >= 80)
			die(given);
		snprintf(sim.work_dir, sizeof(sim.work_dir), "%.80s", path);
	} else {
		snprintf(sim.work_dir, sizeof(sim.work_dir), "/tmp/lustre-sim.XXXXXX");
		if (!mkdtemp(sim.work_dir))
			die(sim.work_dir);
		own_work_dir = true;
	}
	snprintf(path, sizeof(path), "%s/objects", sim.work_dir);
	if (mkdir(path, 0700) != 0)
		die(path);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(path, sizeof(path), "%s/objects/%02x", sim.work_dir, i);
		if (mkdir(path, 0700) != 0)
			die(path);
	}
	snprintf(sim.socket_path, sizeof(sim.socket_path), "%.80s/control", sim.work_dir);
	snprintf(sim.flags_path, sizeof(sim.flags_path), "%.80s/flags", sim.work_dir);
	fd = open(sim.flags_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, 4096) != 0)
		die(sim.flags_path);
	sim.flags_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sim.flags_page == MAP_FAILED)
		die(sim.flags_path);
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Only what we made ourselves; the directory itself if that was ours, too. */
static void remove_work_dir(void)
{
	char objects[PATH_MAX];

	snprintf(objects, sizeof(objects), "%s/objects", sim.work_dir);
	nftw(objects, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	unlink(sim.socket_path);
	unlink(sim.flags_path);
	if (own_work_dir)
		rmdir(sim.work_dir);
	if (scratch)
		nftw(scratch, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void make_uuid(char *text, size_t size)
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		die("getrandom");
	snprintf(text, size, "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6] & 15, b[7], b[8] & 15, b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}

static void *serve(void *argument)
{
	struct mount *mount = argument;
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, 128);
	fuse_loop_cfg_set_idle_threads(config, 16);
	fuse_session_loop_mt(mount->session, config);
	fuse_loop_cfg_destroy(config);
	/* Unmounted by somebody else: one client node less, and with the last one the end. */
	if (atomic_fetch_sub(&mounts_left, 1) == 1)
		kill(getpid(), SIGTERM);
	return NULL;
}

static void mount_one(struct mount *mount, const char *path)
{
	char options[128], absolute[PATH_MAX];
	char *argv[] = { "lustre-sim", "-o", options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	if (!realpath(path, absolute))
		die(path);
	mount->path = xdup(absolute);
	make_uuid(mount->uuid, sizeof(mount->uuid));
	snprintf(options, sizeof(options), "allow_other,default_permissions,fsname=%s,subtype=lustre-sim",
		 sim.fsname);
	mount->session = fuse_session_new(&args, &sim_operations, sizeof(sim_operations), mount);
	if (!mount->session || fuse_session_mount(mount->session, mount->path) != 0) {
		fprintf(stderr, "lustre-sim: cannot mount on %s\n", mount->path);
		exit(1);
	}
	fuse_opt_free_args(&args);
}

static void unmount_all(void)
{
	for (unsigned i = 0; i < sim.mount_count; i++)
		if (sim.mounts[i].path && umount2(sim.mounts[i].path, MNT_DETACH) != 0 && errno != EINVAL)
			perror(sim.mounts[i].path);
}

static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20)
			printf("\\u%04x", *text);
		else if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void print_ready(void)
{
	printf("READY {\"fsname\":");
	print_json_string(sim.fsname);
	printf(",\"pid\":%d,\"workDir\":", getpid());
	print_json_string(sim.work_dir);
	printf(",\"socket\":");
	print_json_string(sim.socket_path);
	printf(",\"mounts\":[");
	for (unsigned i = 0; i < sim.mount_count; i++) {
		printf("%s", i ? "," : "");
		print_json_string(sim.mounts[i].path);
	}
	printf("]}\n");
	fflush(stdout);
}

static void *watch_stdin(void *unused)
{
	char byte;

	(void)unused;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	kill(getpid(), SIGTERM);
	return NULL;
}

static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void set_tunable(const char *assignment)
{
	char *name = xdup(assignment), *value = strchr(name, '=');
	struct text error = { 0 };

	if (value)
		*value++ = '\0';
	if (!value || param_set(name, value, &error) != 0) {
		fprintf(stderr, "lustre-sim: cannot set %s %s\n", assignment, error.data ? error.data : "");
		exit(2);
	}
	free(name);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "fsname", required_argument, NULL, 'f' },
						 { "work-dir", required_argument, NULL, 'w' },
						 { "set", required_argument, NULL, 's' },
						 { "supervised", no_argument, NULL, 'p' },
						 { "scratch", required_argument, NULL, 'd' },
						 { NULL, 0, NULL, 0 } };
	const char *work_dir = NULL, *settings[64];
	unsigned setting_count = 0;
	bool supervised = false;
	pthread_t thread;
	sigset_t signals;
	int option, signal_number;

	strcpy(sim.fsname, "lustre");
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'f' && strlen(optarg) <= 8 && *optarg)
			strcpy(sim.fsname, optarg);
		else if (option == 'w')
			work_dir = optarg;
		else if (option == 's' && setting_count < 64)
			settings[setting_count++] = optarg;
		else if (option == 'p')
			supervised = true;
		else if (option == 'd')
			scratch = optarg;
		else
			usage();
	}
	if (optind >= argc || argc - optind > MOUNTS_MAX)
		usage();
	if (supervised)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	raise_limits();
	make_work_dir(work_dir);
	inodes_init();
	coordinator_start();
	agents_start();
	for (unsigned i = 0; i < setting_count; i++)
		set_tunable(settings[i]);
	sim.mount_count = (unsigned)(argc - optind);
	atomic_store(&mounts_left, sim.mount_count);
	for (unsigned i = 0; i < sim.mount_count; i++) {
		sim.mounts[i].index = i;
		mount_one(&sim.mounts[i], argv[optind + (int)i]);
	}
	for (unsigned i = 0; i < sim.mount_count; i++)
		pthread_create(&sim.mounts[i].thread, NULL, serve, &sim.mounts[i]);
	control_start();
	if (supervised)
		pthread_create(&thread, NULL, watch_stdin, NULL);
	print_ready();
	sigwait(&signals, &signal_number);

	agents_shutdown();
	blocked_fail_everything(EIO);
	unmount_all();
	remove_work_dir();
	/* Threads are still about; the kernel ends what they have in hand when the descriptors go. */
	_exit(0);
}
