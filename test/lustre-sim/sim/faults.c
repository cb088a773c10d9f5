/*
 * Injected faults, and the list of misuses seen. A fault is "CALL key=value…", for example
 * "begin errno=ENOENT count=1 action=RESTORE" or "write delay_ms=50 nth=3 fid=[0x200000401:0x11:0x0]".
 */
#include "sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIOLATIONS_MAX 1000

struct fault {
	struct fault *next;
	char name[24];
	int error;
	uint32_t delay_ms;
	uint64_t nth;   /* 0: every one */
	uint64_t count; /* how often it may still strike */
	uint64_t seen, hits;
	bool has_fid;
	struct lu_fid fid;
	uint32_t action;
};

static const char *const calls[] = {
	"register", "unregister", "recv", "begin", "progress", "end", "get_fd", "get_dfid", "import", "state_get",
	"state_set", "current_action", "request", "open_by_fid", "fid2path", "path2fid", "fd2fid", "data_version",
	"mdt_index", "search_fsname", "lookup", "getattr", "setattr", "create", "unlink", "rename", "open", "read",
	"write", "truncate", "fallocate", "lseek", "fsync", "getxattr", "setxattr", "removexattr",
	"readdir",
};

static struct fault *faults;
atomic_bool faults_armed;
static char *violations[VIOLATIONS_MAX];
static uint64_t violation_total;

static uint32_t action_by_name(const char *name)
{
	for (uint32_t action = HSMA_ARCHIVE; action <= HSMA_CANCEL; action++)
		if (strcmp(action_name(action), name) == 0)
			return action;
	return 0;
}

static bool parse_option(struct fault *fault, const char *key, const char *value)
{
	char *end;
	unsigned long long number = strtoull(value, &end, 10);
	bool is_number = *value && *end == '\0';

	if (strcmp(key, "errno") == 0)
		return (fault->error = errno_by_name(value)) != 0;
	if (strcmp(key, "action") == 0)
		return (fault->action = action_by_name(value)) != 0;
	if (strcmp(key, "fid") == 0)
		return fault->has_fid = fid_parse(value, &fault->fid);
	if (strcmp(key, "delay_ms") == 0)
		fault->delay_ms = (uint32_t)number;
	else if (strcmp(key, "nth") == 0)
		fault->nth = number;
	else if (strcmp(key, "count") == 0)
		fault->count = number;
	else
		return false;
	return is_number;
}

static bool known_call(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(calls[i], name) == 0)
			return true;
	return false;
}

static void publish(void)
{
	uint32_t count = 0;

	for (const struct fault *fault = faults; fault; fault = fault->next)
		count++;
	faults_armed = count > 0;
	*sim.flags_page = count;
}

int fault_set(const char *spec, struct text *error)
{
	struct fault *fault = xalloc(sizeof(*fault));
	char *copy = xdup(spec), *rest = copy, *word = strtok_r(rest, " ", &rest);
	bool good = word && known_call(word);

	fault->count = UINT64_MAX;
	if (!good)
		text_add(error, "'%s' is not a call that can fail", word ? word : "");
	else
		snprintf(fault->name, sizeof(fault->name), "%s", word);
	while (good && (word = strtok_r(rest, " ", &rest))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		good = value && parse_option(fault, word, value);
		if (!good)
			text_add(error, "'%s=%s' is not an option of a fault", word, value ? value : "");
	}
	if (good && !fault->error && !fault->delay_ms) {
		text_add(error, "a fault needs errno= or delay_ms=");
		good = false;
	}
	free(copy);
	if (!good) {
		free(fault);
		return -EINVAL;
	}
	fault->next = faults;
	faults = fault;
	publish();
	return 0;
}

void fault_clear(void)
{
	while (faults) {
		struct fault *next = faults->next;

		free(faults);
		faults = next;
	}
	publish();
}

void print_faults(struct text *out)
{
	char name[32];

	for (const struct fault *f = faults; f; f = f->next) {
		text_add(out, "%s", f->name);
		if (f->error)
			text_add(out, " errno=%s", errno_name(f->error, name, sizeof(name)));
		if (f->delay_ms)
			text_add(out, " delay_ms=%u", f->delay_ms);
		if (f->action)
			text_add(out, " action=%s", action_name(f->action));
		if (f->has_fid)
			text_add(out, " fid=" FID_FORMAT, FID_ARGS(f->fid));
		text_add(out, " seen=%llu hits=%llu\n", (unsigned long long)f->seen, (unsigned long long)f->hits);
	}
}

int fault_check(const char *name, const struct lu_fid *fid, uint32_t action, uint32_t *delay_ms)
{
	for (struct fault *f = faults; f; f = f->next) {
		if (strcmp(f->name, name) != 0 || (f->action && f->action != action) ||
		    (f->has_fid && (!fid || !fid_equal(fid, &f->fid))))
			continue;
		f->seen++;
		if (f->count == 0 || (f->nth && f->seen < f->nth))
			continue;
		if (f->nth && f->count == UINT64_MAX)
			f->count = 1; /* "nth" alone strikes once */
		f->count--;
		f->hits++;
		*delay_ms = f->delay_ms;
		return f->error;
	}
	return 0;
}

void violation(const char *format, ...)
{
	char line[400];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "lustre-sim: VIOLATION: %s\n", line);
	if (violation_total < VIOLATIONS_MAX)
		violations[violation_total] = xdup(line);
	violation_total++;
	events_changed();
}

void print_violations(struct text *out)
{
	for (uint64_t i = 0; i < violation_total && i < VIOLATIONS_MAX; i++)
		text_add(out, "%s\n", violations[i]);
}

void clear_violations(void)
{
	for (uint64_t i = 0; i < violation_total && i < VIOLATIONS_MAX; i++)
		free(violations[i]);
	violation_total = 0;
}

uint64_t violations_count(void)
{
	return violation_total;
}
