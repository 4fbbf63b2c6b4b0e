/* A server that does nothing but read a request of a known size and write a ready answer.
 *
 * read_and_answer REQUEST_BYTES < ANSWER: prints its port, and serves until it is ended. What is
 * left of the machine beside it and its clients is all that a server with a model can have. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 1024, PIECE = 1 << 16 };

int main(int count, char **given) {
    if (count != 2) return 2;
    const long wanted = atol(given[1]);
    static char answer[1 << 20], piece[PIECE];
    static long got[CONNECTIONS];
    const size_t size = fread(answer, 1, sizeof answer, stdin);

    const int listener = socket(AF_INET, SOCK_STREAM, 0), events = epoll_create1(0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 64)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[64];
    epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        const int many = epoll_wait(events, ready, 64, -1);
        for (int place = 0; place < many; place++) {
            int socket = ready[place].data.fd;
            if (socket == listener) {
                socket = accept(listener, NULL, NULL);
                if (socket < 0 || socket >= CONNECTIONS) return 1;
                setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                got[socket] = 0;
                event.data.fd = socket;
                epoll_ctl(events, EPOLL_CTL_ADD, socket, &event);
                continue;
            }
            const ssize_t more = read(socket, piece, sizeof piece);
            if (more <= 0) {
                close(socket);
            } else if ((got[socket] += more) >= wanted) {
                got[socket] -= wanted;
                if (write(socket, answer, size) != (ssize_t)size) return 1;
            }
        }
    }
}
