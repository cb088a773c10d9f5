/*
 * Binds a datagram socket (path, or abstract with a leading @), prints a line, then the first datagram. With a second
 * argument it prints every datagram, each with a NUL behind it, until it is killed.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = argc > 1 ? strlen(argv[1]) : 0;
	char text[4096];
	ssize_t got;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (length == 0 || length >= sizeof(address.sun_path) || fd < 0)
		return 1;
	memcpy(address.sun_path, argv[1], length);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = 0;
	if (bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length) < 0)
		return 2;
	if (write(1, "\n", 1) != 1)
		return 3;
	do {
		got = recv(fd, text, sizeof(text) - 1, 0);
		if (got < 0)
			return 4;
		if (argc > 2)
			text[got++] = 0;
		if (write(1, text, got) != got)
			return 5;
	} while (argc > 2);
	return 0;
}
