/*
 * What hsm.actions and hsm.active_requests show of the coordinator's records.
 */
#include "sim.h"
#include <stdlib.h>

static void print_data(struct text *out, const struct request *request)
{
	text_add(out, "[");
	for (uint32_t i = 0; i < request->data_len; i++)
		text_add(out, "%02X", (unsigned char)request->data[i]);
	text_add(out, "]");
}

static void print_record(struct text *out, const struct request *r)
{
	unsigned length = 136 + ((r->data_len + 7u) & ~7u);

	text_add(out,
		 "lrh=[type=10680000 len=%u idx=%llu/%llu] fid=" FID_FORMAT " dfid=" FID_FORMAT
		 " compound/cookie=0x0/0x%llx action=%s archive#=%u flags=0x%llx "
		 "extent=0x0-0xffffffffffffffff gid=0x%llx datalen=%u status=%s data=",
		 length, (unsigned long long)(r->index / 64768 + 1), (unsigned long long)(r->index % 64768),
		 FID_ARGS(r->fid), FID_ARGS(r->dfid),
		 (unsigned long long)(r->action == HSMA_CANCEL ? r->target_cookie : r->cookie),
		 action_name(r->action), r->archive_id, (unsigned long long)r->flags, (unsigned long long)r->gid, r->data_len,
		 status_names[r->status]);
	print_data(out, r);
	text_add(out, "\n");
}

static int by_index(const void *a, const void *b)
{
	const struct request *x = *(struct request *const *)a, *y = *(struct request *const *)b;

	return x->index < y->index ? -1 : x->index > y->index;
}

void print_actions(struct text *out)
{
	size_t count;
	struct request **all = requests_all(&count);

	qsort(all, count, sizeof(struct request *), by_index);
	for (size_t i = 0; i < count; i++)
		print_record(out, all[i]);
	free(all);
}

void print_active(struct text *out)
{
	size_t count;
	struct request **all = requests_all(&count);

	qsort(all, count, sizeof(struct request *), by_index);
	for (size_t i = 0; i < count; i++) {
		const struct request *r = all[i];

		if (!r->active)
			continue;
		text_add(out,
			 "fid=" FID_FORMAT " dfid=" FID_FORMAT
			 " compound/cookie=0x0/0x%llx action=%s archive#=%u flags=0x%llx "
			 "extent=0x0-0xffffffffffffffff gid=0x%llx data=",
			 FID_ARGS(r->fid), FID_ARGS(r->dfid), (unsigned long long)r->cookie,
			 action_name(r->action), r->archive_id, (unsigned long long)r->flags,
			 (unsigned long long)r->gid);
		print_data(out, r);
		text_add(out, " canceled=%d uuid=%s done=%llu\n", r->canceled, sim.mounts[r->mount].uuid,
			 (unsigned long long)r->moved);
	}
	free(all);
}
