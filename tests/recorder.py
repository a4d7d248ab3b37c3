"""A resolver and a network that record what a program asks of them, and let nothing out; files it writes as well.

A library that stands before the C library's: it sees what any code of a program, in Python or not, asks of that one. It
is compiled here, on Linux, where there is a C compiler. With LET_LOOPBACK in its environment a program may speak with
this machine, which is then not recorded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["compile_recorder", "missing_recorder"]

SOURCE = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void record(const char *what, const char *detail) {
    const char *path = getenv("RECORD_TO");
    if (!path) return;
    int before = errno;
    char line[PATH_MAX + 100];
    int length = snprintf(line, sizeof line, "%s %s\n", what, detail ? detail : "");
    if (length > (int)sizeof line - 1) length = sizeof line - 1;
    int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (syscall(SYS_write, file, line, length) < 0) abort();
        syscall(SYS_close, file);
    }
    errno = before;
}

static void record_path(int folder, const char *path) {
    char base[PATH_MAX] = "", whole[2 * PATH_MAX], link[64];
    if (path && path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) base[0] = 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length > 0) base[length] = 0;
        }
        snprintf(whole, sizeof whole, "%s/%s", base, path);
        path = whole;
    }
    record("write", path);
}

static int is_inet(const struct sockaddr *to) {
    return to && (to->sa_family == AF_INET || to->sa_family == AF_INET6);
}

static int socket_is_inet(int file) {
    int domain = 0;
    socklen_t length = sizeof domain;
    return !getsockopt(file, SOL_SOCKET, SO_DOMAIN, &domain, &length) && (domain == AF_INET || domain == AF_INET6);
}

static int is_let() { return getenv("LET_LOOPBACK") != NULL; }

static int stays_here(const struct sockaddr *to) {
    if (!is_let() || !is_inet(to)) return 0;
    if (to->sa_family == AF_INET) return ntohl(((const struct sockaddr_in *)to)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)to)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

static int socket_stays_here(int file, const struct sockaddr *to) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (to || !is_let()) return stays_here(to);
    if (getpeername(file, (struct sockaddr *)&peer, &length)) return 1; // the other end has closed it: it goes nowhere
    return stays_here((struct sockaddr *)&peer);
}

static int names_loopback(const char *name) {
    return is_let() && (!name || !strcmp(name, "localhost") || !strncmp(name, "127.", 4) || !strcmp(name, "::1"));
}

static void record_address(const char *what, const struct sockaddr *to) {
    char text[INET6_ADDRSTRLEN] = "";
    const void *address = NULL;
    if (to && to->sa_family == AF_INET) address = &((const struct sockaddr_in *)to)->sin_addr;
    if (to && to->sa_family == AF_INET6) address = &((const struct sockaddr_in6 *)to)->sin6_addr;
    if (address) inet_ntop(to->sa_family, address, text, sizeof text);
    record(what, text);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    if (names_loopback(node)) return NEXT(getaddrinfo)(node, service, hints, result);
    record("lookup", node ? node : service);
    return EAI_AGAIN;
}
struct hostent *gethostbyname(const char *name) { record("lookup", name); h_errno = TRY_AGAIN; return NULL; }
struct hostent *gethostbyname2(const char *name, int family) { return gethostbyname(name); }
int gethostbyname_r(const char *name, struct hostent *into, char *buffer, size_t size,
                    struct hostent **result, int *error) {
    record("lookup", name);
    *result = NULL;
    *error = TRY_AGAIN;
    return EAGAIN;
}
int gethostbyname2_r(const char *name, int family, struct hostent *into, char *buffer, size_t size,
                     struct hostent **result, int *error) {
    return gethostbyname_r(name, into, buffer, size, result, error);
}
int res_query(const char *name, int class, int type, unsigned char *answer, int size) {
    record("lookup", name);
    return -1;
}
int res_search(const char *name, int class, int type, unsigned char *answer, int size) {
    record("lookup", name);
    return -1;
}

int connect(int file, const struct sockaddr *to, socklen_t size) {
    if (!is_inet(to) || stays_here(to)) return NEXT(connect)(file, to, size);
    record_address("connect", to);
    errno = ECONNREFUSED;
    return -1;
}
ssize_t sendto(int file, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    if (!socket_is_inet(file) || socket_stays_here(file, to)) return NEXT(sendto)(file, data, length, flags, to, size);
    record_address("send", to);
    return length;
}
ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
    if (!socket_is_inet(file) || socket_stays_here(file, message->msg_name)) return NEXT(sendmsg)(file, message, flags);
    record_address("send", message->msg_name);
    errno = ENETUNREACH;
    return -1;
}
int sendmmsg(int file, struct mmsghdr *messages, unsigned int number, int flags) {
    const struct sockaddr *to = messages->msg_hdr.msg_name;
    if (!socket_is_inet(file) || socket_stays_here(file, to)) return NEXT(sendmmsg)(file, messages, number, flags);
    record_address("send", messages->msg_hdr.msg_name);
    errno = ENETUNREACH;
    return -1;
}

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define OPEN(name)                                          \
    int name(const char *path, int flags, ...) {            \
        va_list rest;                                       \
        va_start(rest, flags);                              \
        mode_t mode = va_arg(rest, mode_t);                 \
        va_end(rest);                                       \
        if (WRITES(flags)) record_path(AT_FDCWD, path);     \
        return NEXT(name)(path, flags, mode);               \
    }
#define OPENAT(name)                                            \
    int name(int folder, const char *path, int flags, ...) {    \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        mode_t mode = va_arg(rest, mode_t);                     \
        va_end(rest);                                           \
        if (WRITES(flags)) record_path(folder, path);           \
        return NEXT(name)(folder, path, flags, mode);           \
    }
#define FOPEN(name)                                                                 \
    FILE *name(const char *path, const char *mode) {                                \
        if (mode[0] != 'r' || strchr(mode, '+')) record_path(AT_FDCWD, path);       \
        return NEXT(name)(path, mode);                                              \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)
int creat(const char *path, mode_t mode) { record_path(AT_FDCWD, path); return NEXT(creat)(path, mode); }
int mkdir(const char *path, mode_t mode) { record_path(AT_FDCWD, path); return NEXT(mkdir)(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    record_path(folder, path);
    return NEXT(mkdirat)(folder, path, mode);
}
int rename(const char *from, const char *to) { record_path(AT_FDCWD, to); return NEXT(rename)(from, to); }
"""


def missing_recorder() -> str | None:
    """Why nothing can be recorded here, or None."""
    if sys.platform != "linux":
        return "programs are recorded on Linux only"
    return None if shutil.which("cc") else "no C compiler (cc) is installed"


def compile_recorder(folder: Path) -> dict[str, str]:
    """Make the library in `folder`; the environment that a program needs in order to be recorded in `folder`/seen."""
    (folder / "recorder.c").write_text(SOURCE, encoding="utf-8")
    words = ["cc", "-shared", "-fPIC", "-O1", "-w", "-o", "recorder.so", "recorder.c", "-ldl"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return {"LD_PRELOAD": str(folder / "recorder.so"), "RECORD_TO": str(folder / "seen")}
