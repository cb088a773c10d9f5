/*
 * Action lists on their way to agents: one is open for each agent, archive id and flags, and goes out when it is
 * full or the coordinator's round is over.
 */
#include "sim.h"
#include <stdlib.h>
#include <string.h>

#define LIST_HEADER(fsname) (sizeof(struct hsm_action_list) + ((strlen(fsname) + 1 + 7) & ~(size_t)7))

struct outgoing {
	struct outgoing *next;
	struct mount *mount;
	uint32_t archive_id;
	uint64_t flags;
	char *data;
	size_t size, room;
};

size_t item_size(const struct request *request)
{
	return (sizeof(struct hsm_action_item) + request->data_len + 7) & ~(size_t)7;
}

void list_add(struct outgoing *out, const struct request *request, uint32_t action)
{
	uint32_t length = (uint32_t)sizeof(struct hsm_action_item) + request->data_len;
	struct hsm_action_item *item;

	if (out->size + item_size(request) > out->room) {
		out->room = out->room ? out->room * 2 : 4096;
		if (out->room < out->size + item_size(request))
			out->room = out->size + item_size(request);
		out->data = xgrow(out->data, out->room);
	}
	item = (struct hsm_action_item *)(out->data + out->size);
	memset(item, 0, item_size(request));
	item->hai_len = length;
	item->hai_action = action;
	item->hai_fid = request->fid;
	item->hai_dfid = request->dfid;
	item->hai_extent.length = UINT64_MAX;
	item->hai_cookie = request->cookie;
	item->hai_gid = request->gid;
	if (action == HSMA_CANCEL)
		item->hai_len = sizeof(*item);
	else
		memcpy(item->hai_data, request->data, request->data_len);
	out->size += (item->hai_len + 7u) & ~7u;
	((struct hsm_action_list *)out->data)->hal_count++;
}

static void list_send(struct outgoing *out)
{
	if (((struct hsm_action_list *)out->data)->hal_count)
		agent_send(out->mount, out->data, out->size);
	out->size = 0;
}

/* The open list for this agent, archive and flags, with room for `extra` bytes and one cancel. */
struct outgoing *list_for(struct outgoing **lists, struct mount *mount, uint32_t archive_id,
				 uint64_t flags, size_t extra)
{
	struct outgoing *out;
	struct hsm_action_list *header;

	for (out = *lists; out; out = out->next)
		if (out->mount == mount && out->archive_id == archive_id && out->flags == flags)
			break;
	if (!out) {
		out = xalloc(sizeof(*out));
		out->mount = mount;
		out->archive_id = archive_id;
		out->flags = flags;
		out->next = *lists;
		*lists = out;
	}
	if (out->size && (out->size + extra + sizeof(struct hsm_action_item) > SIM_RECEIVE_MAX ||
			  ((struct hsm_action_list *)out->data)->hal_count >= tunables.list_items))
		list_send(out);
	if (!out->size) {
		if (!out->room)
			out->data = xgrow(NULL, out->room = 4096);
		out->size = LIST_HEADER(sim.fsname);
		memset(out->data, 0, out->size);
		header = (struct hsm_action_list *)out->data;
		header->hal_version = 1;
		header->hal_flags = flags;
		header->hal_archive_id = archive_id;
		strcpy(header->hal_fsname, sim.fsname);
	}
	return out;
}

void lists_send(struct outgoing *lists)
{
	struct outgoing *next;

	for (; lists; lists = next) {
		next = lists->next;
		list_send(lists);
		free(lists->data);
		free(lists);
	}
}
