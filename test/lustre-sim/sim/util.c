/*
 * Small helpers: time, memory, texts, FIDs and names of errno values.
 */
#include "sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct timespec now_ts(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

void *xalloc(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory) {
		fprintf(stderr, "lustre-sim: out of memory\n");
		abort();
	}
	return memory;
}

void *xgrow(void *old, size_t size)
{
	void *memory = realloc(old, size ? size : 1);

	if (!memory) {
		fprintf(stderr, "lustre-sim: out of memory\n");
		abort();
	}
	return memory;
}

char *xdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(xalloc(size), text, size);
}

const char *errno_name(int number, char *buffer, size_t size)
{
	const char *name = strerrorname_np(number);

	if (name)
		snprintf(buffer, size, "%s", name);
	else
		snprintf(buffer, size, "%d", number);
	return buffer;
}

int errno_by_name(const char *name)
{
	char *end;
	long number = strtol(name, &end, 10);

	if (end != name && *end == '\0' && number > 0 && number < 4096)
		return (int)number;
	for (int i = 1; i < 134; i++) {
		const char *known = strerrorname_np(i);

		if (known && strcmp(known, name) == 0)
			return i;
	}
	return 0;
}

/* Accepts [0xSEQ:0xOID:0xVER] with or without its brackets, and nothing behind it. */
bool fid_parse(const char *text, struct lu_fid *fid)
{
	unsigned long long seq;
	unsigned int oid, ver;
	bool bracket = *text == '[';
	int used = 0;

	if (sscanf(text + bracket, "0x%llx:0x%x:0x%x%n", &seq, &oid, &ver, &used) != 3 || used == 0)
		return false;
	text += bracket + used;
	if (bracket && *text++ != ']')
		return false;
	fid->f_seq = seq;
	fid->f_oid = oid;
	fid->f_ver = ver;
	return *text == '\0';
}

bool fid_equal(const struct lu_fid *a, const struct lu_fid *b)
{
	return a->f_seq == b->f_seq && a->f_oid == b->f_oid && a->f_ver == b->f_ver;
}

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed)
{
	const unsigned char *bytes = data;
	uint64_t hash = seed ^ 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash ^ hash >> 29;
}

void text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (text->length + (size_t)length + 1 > text->room) {
		text->room = (text->length + (size_t)length + 1) * 2;
		text->data = xgrow(text->data, text->room);
	}
	va_start(args, format);
	vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
	va_end(args);
	text->length += (size_t)length;
}

void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}
