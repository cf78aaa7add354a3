/* Loaded before the C library: the call number FAIL_SYNC of fdatasync fails, and so do all later ones. Every one that
   fails is a line in the file FAIL_SYNC_LOG. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int calls;

int fdatasync(int file) {
    const char *at = getenv("FAIL_SYNC");
    const char *log_name = getenv("FAIL_SYNC_LOG");
    if (at && log_name && __sync_add_and_fetch(&calls, 1) >= atoi(at)) {
        int log = open(log_name, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (log < 0 || write(log, "failed\n", 7) != 7)
            abort();
        close(log);
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(file);
}
