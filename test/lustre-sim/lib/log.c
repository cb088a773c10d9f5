/*
 * The library's messages: to stderr, unless the program sets a level or a callback.
 */
#include "lib.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int message_level = LLAPI_MSG_MAX;

static void to_stderr(enum llapi_message_level level, int err, const char *format, va_list args)
{
	char line[1024];
	int length = vsnprintf(line, sizeof(line), format, args);

	(void)level;
	if (length < 0)
		return;
	if (err)
		fprintf(stderr, "%s: %s: %s (%d)\n", program_invocation_short_name, line, strerror(err), err);
	else
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
}

static llapi_log_callback_t error_callback = to_stderr;
static llapi_log_callback_t info_callback = to_stderr;

void llapi_msg_set_level(int level)
{
	message_level = level < LLAPI_MSG_OFF ? LLAPI_MSG_OFF : level > LLAPI_MSG_MAX ? LLAPI_MSG_MAX : level;
}

int llapi_msg_get_level(void)
{
	return message_level;
}

llapi_log_callback_t llapi_error_callback_set(llapi_log_callback_t callback)
{
	llapi_log_callback_t old = error_callback;

	error_callback = callback ? callback : to_stderr;
	return old;
}

llapi_log_callback_t llapi_info_callback_set(llapi_log_callback_t callback)
{
	llapi_log_callback_t old = info_callback;

	info_callback = callback ? callback : to_stderr;
	return old;
}

void log_error(int rc, const char *format, ...)
{
	va_list args;

	if (message_level < LLAPI_MSG_ERROR)
		return;
	va_start(args, format);
	error_callback(LLAPI_MSG_ERROR, rc < 0 ? -rc : rc, format, args);
	va_end(args);
}
