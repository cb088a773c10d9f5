/*
 * Parameters, as `lctl get_param` and `set_param` know them: the coordinator's tunables under
 * mdt.<fsname>-MDT0000., the simulator's own under sim. Also the conditions that a test can wait for.
 */
#include "sim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const control_names[] = { "enabled", "disabled", "stopped" };

/* Takes "mdt.<name>." off. NULL when the name is another server's. */
static const char *local_name(const char *name)
{
	char own[40];
	const char *rest;

	if (strncmp(name, "mdt.", 4) != 0)
		return name;
	name += 4;
	snprintf(own, sizeof(own), "%s-MDT0000.", sim.fsname);
	if (strncmp(name, own, strlen(own)) == 0)
		return name + strlen(own);
	rest = strchr(name, '.');
	if (!rest || rest == name || rest[-1] != '*')
		return NULL;
	return rest + 1;
}

bool counter_value(const char *name, uint64_t *value)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{ "waiting", counts.waiting },
		{ "started", counts.started },
		{ "succeeded", counts.succeeded },
		{ "failed", counts.failed },
		{ "canceled", counts.canceled },
		{ "delivered", counts.delivered },
		{ "queue_peak", counts.queue_peak },
		{ "agents", agents_count() },
		{ "blocked", sim.blocked_count },
		{ "blocked_total", sim.blocked_total },
		{ "violations", violations_count() },
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		if (name && strcmp(counters[i].name, name) != 0)
			continue;
		*value = counters[i].value;
		return true;
	}
	return false;
}

static void print_counters(struct text *out)
{
	static const char *const names[] = { "waiting",	  "started",	"succeeded", "failed",	"canceled",	 "delivered",
					     "queue_peak", "agents",	"blocked",   "blocked_total", "violations" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint64_t value = 0;

		counter_value(names[i], &value);
		text_add(out, "%s=%llu\n", names[i], (unsigned long long)value);
	}
}

static void print_mounts(struct text *out)
{
	for (unsigned i = 0; i < sim.mount_count; i++)
		text_add(out, "%u %s %s\n", i, sim.mounts[i].uuid, sim.mounts[i].path);
}

static void print_policy(struct text *out)
{
	text_add(out, tunables.nonblocking_restore ? "[NonBlockingRestore]" : "NonBlockingRestore");
	text_add(out, tunables.no_retry ? " [NoRetryAction]" : " NoRetryAction");
}

static void get_sim(const char *name, struct text *out, int *rc)
{
	if (strcmp(name, "fault") == 0)
		print_faults(out);
	else if (strcmp(name, "violations") == 0)
		print_violations(out);
	else if (strcmp(name, "counters") == 0)
		print_counters(out);
	else if (strcmp(name, "mounts") == 0)
		print_mounts(out);
	else if (strcmp(name, "fsname") == 0)
		text_add(out, "%s", sim.fsname);
	else if (strcmp(name, "reregister_delay") == 0)
		text_add(out, "%g", tunables.reregister_delay);
	else if (strcmp(name, "enospc_after") == 0)
		text_add(out, "%lld", (long long)tunables.enospc_after);
	else if (strcmp(name, "edquot_after") == 0)
		text_add(out, "%u:%lld", tunables.edquot_uid, (long long)tunables.edquot_after);
	else if (strcmp(name, "list_items") == 0)
		text_add(out, "%llu", (unsigned long long)tunables.list_items);
	else
		*rc = -ENOENT;
}

static void get_hsm(const char *name, struct text *out, int *rc)
{
	if (strcmp(name, "actions") == 0)
		print_actions(out);
	else if (strcmp(name, "active_requests") == 0)
		print_active(out);
	else if (strcmp(name, "agents") == 0)
		print_agents(out);
	else if (strcmp(name, "policy") == 0)
		print_policy(out);
	else if (strcmp(name, "loop_period") == 0)
		text_add(out, "%g", tunables.loop_period);
	else if (strcmp(name, "max_requests") == 0)
		text_add(out, "%llu", (unsigned long long)tunables.max_requests);
	else if (strcmp(name, "active_request_timeout") == 0)
		text_add(out, "%llu", (unsigned long long)tunables.active_request_timeout);
	else if (strcmp(name, "grace_delay") == 0)
		text_add(out, "%llu", (unsigned long long)tunables.grace_delay);
	else if (strcmp(name, "default_archive_id") == 0)
		text_add(out, "%llu", (unsigned long long)tunables.default_archive_id);
	else if (strcmp(name, "remove_archive_on_last_unlink") == 0)
		text_add(out, "%d", tunables.remove_archive_on_last_unlink);
	else
		*rc = -ENOENT;
}

int param_get(const char *name, struct text *out)
{
	int rc = 0;

	name = local_name(name);
	if (!name)
		return -ENOENT;
	lock();
	if (strcmp(name, "hsm_control") == 0)
		text_add(out, "%s", control_names[tunables.control]);
	else if (strncmp(name, "hsm.", 4) == 0)
		get_hsm(name + 4, out, &rc);
	else if (strncmp(name, "sim.", 4) == 0)
		get_sim(name + 4, out, &rc);
	else
		rc = -ENOENT;
	unlock();
	return rc;
}

static int set_control(const char *value, struct blocked **wake)
{
	if (strcmp(value, "enabled") == 0) {
		tunables.control = CONTROL_ENABLED;
		coordinator_kick();
	} else if (strcmp(value, "disabled") == 0) {
		tunables.control = CONTROL_DISABLED;
	} else if (strcmp(value, "shutdown") == 0) {
		/* The agents are not told, and nobody registers them again: observed so. */
		tunables.control = CONTROL_SHUTDOWN;
		agents_drop_all(false);
		coordinator_forget();
	} else if (strcmp(value, "purge") == 0) {
		coordinator_purge(wake);
	} else {
		return -EINVAL;
	}
	return 0;
}

static int set_policy(const char *value)
{
	char sign = *value == '+' || *value == '-' ? *value++ : '=';
	bool retry = strcmp(value, "NRA") == 0 || strcmp(value, "NoRetryAction") == 0;
	bool blocking = strcmp(value, "NBR") == 0 || strcmp(value, "NonBlockingRestore") == 0;

	if (!retry && !blocking)
		return -EINVAL;
	if (retry || sign == '=')
		tunables.no_retry = retry && sign != '-';
	if (blocking || sign == '=')
		tunables.nonblocking_restore = blocking && sign != '-';
	return 0;
}

static int set_number(const char *value, double least, double *number)
{
	char *end;

	*number = strtod(value, &end);
	return end != value && *end == '\0' && *number >= least ? 0 : -EINVAL;
}

static int set_hsm(const char *name, const char *value)
{
	double number;

	if (strcmp(name, "policy") == 0)
		return set_policy(value);
	if (set_number(value, 0, &number) != 0)
		return -EINVAL;
	if (strcmp(name, "loop_period") == 0 && number > 0)
		tunables.loop_period = number;
	else if (strcmp(name, "max_requests") == 0)
		tunables.max_requests = (uint64_t)number;
	else if (strcmp(name, "active_request_timeout") == 0)
		tunables.active_request_timeout = (uint64_t)number;
	else if (strcmp(name, "grace_delay") == 0)
		tunables.grace_delay = (uint64_t)number;
	else if (strcmp(name, "default_archive_id") == 0 && number > 0)
		tunables.default_archive_id = (uint64_t)number;
	else if (strcmp(name, "remove_archive_on_last_unlink") == 0)
		tunables.remove_archive_on_last_unlink = number != 0;
	else
		return -EINVAL;
	coordinator_kick();
	return 0;
}

static int set_evict(const char *value)
{
	char *end;
	unsigned long index = strtoul(value, &end, 10);

	if (end == value || index >= sim.mount_count)
		return -EINVAL;
	agent_evict(&sim.mounts[index], strcmp(end, " quiet") == 0);
	return 0;
}

static int set_quota(const char *value)
{
	long long left;
	unsigned uid;

	if (sscanf(value, "%u:%lld", &uid, &left) != 2)
		return -EINVAL;
	tunables.edquot_uid = uid;
	tunables.edquot_after = left;
	return 0;
}

static int set_sim(const char *name, const char *value, struct text *error)
{
	double number;
	int rc = 0;

	if (strcmp(name, "fault") == 0) {
		if (strcmp(value, "clear") == 0)
			fault_clear();
		else
			rc = fault_set(value, error);
	} else if (strcmp(name, "violations") == 0 && strcmp(value, "clear") == 0) {
		clear_violations();
	} else if (strcmp(name, "queue_peak") == 0 && strcmp(value, "clear") == 0) {
		counts.queue_peak = counts.waiting + counts.started;
	} else if (strcmp(name, "mdt") == 0 && strcmp(value, "restart") == 0) {
		coordinator_forget();
		agents_drop_all(true);
	} else if (strcmp(name, "evict") == 0) {
		rc = set_evict(value);
	} else if (strcmp(name, "reregister_delay") == 0) {
		rc = set_number(value, 0, &tunables.reregister_delay);
	} else if (strcmp(name, "enospc_after") == 0) {
		rc = set_number(value, -1, &number);
		if (!rc)
			tunables.enospc_after = (int64_t)number;
	} else if (strcmp(name, "edquot_after") == 0) {
		rc = set_quota(value);
	} else if (strcmp(name, "list_items") == 0) {
		rc = set_number(value, 1, &number);
		if (!rc)
			tunables.list_items = (uint64_t)number;
	} else {
		rc = -ENOENT;
	}
	return rc;
}

int param_set(const char *name, const char *value, struct text *error)
{
	struct blocked *wake = NULL;
	int rc;

	name = local_name(name);
	if (!name)
		return -ENOENT;
	lock();
	if (strcmp(name, "hsm_control") == 0)
		rc = set_control(value, &wake);
	else if (strncmp(name, "hsm.", 4) == 0)
		rc = set_hsm(name + 4, value);
	else if (strncmp(name, "sim.", 4) == 0)
		rc = set_sim(name + 4, value, error);
	else
		rc = -ENOENT;
	unlock();
	wake_all(wake);
	return rc;
}

static bool status_among(enum request_status status, const char *list)
{
	size_t length = strlen(status_names[status]);

	for (const char *at = list; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, status_names[status], length) == 0 && (at[length] == '|' || at[length] == '\0'))
			return true;
	}
	return false;
}

/* "FID STATUS|STATUS… [ACTION]": of the last request for the FID. */
static bool request_condition(const char *condition, bool *valid)
{
	char fid_text[FID_TEXT], list[80], action[16] = "";
	const struct request *request;
	struct lu_fid fid;
	uint32_t wanted = 0;

	*valid = sscanf(condition, "%63s %79s %15s", fid_text, list, action) >= 2 && fid_parse(fid_text, &fid);
	if (!*valid)
		return false;
	for (uint32_t a = HSMA_ARCHIVE; a <= HSMA_CANCEL; a++)
		if (strcmp(action_name(a), action) == 0)
			wanted = a;
	request = request_last(&fid, wanted);
	return request && status_among(request->status, list);
}

/* "drained", "agents>=2" (any counter; ==, >=, <=), or "FID STATUS [ACTION]". Lock held. */
bool condition_met(const char *condition, bool *valid)
{
	char name[32], op[3];
	unsigned long long wanted;
	uint64_t value;

	*valid = true;
	if (strcmp(condition, "drained") == 0)
		return counts.waiting + counts.started == 0;
	if (*condition == '[')
		return request_condition(condition, valid);
	if (sscanf(condition, "%31[a-z_]%2[=<>]%llu", name, op, &wanted) != 3 || !counter_value(name, &value)) {
		*valid = false;
		return false;
	}
	switch (*op) {
	case '>':
		return value >= wanted;
	case '<':
		return value <= wanted;
	default:
		return value == wanted;
	}
}
