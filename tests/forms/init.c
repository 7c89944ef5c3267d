/* The first program of a test's VM: loads kernel modules, mounts the root, runs one program in it, and ends the VM.
 *
 *     init DEVICE TYPE ROOT DIRECTORY PROGRAM ARGUMENT...
 *
 * DEVICE: a disk of TYPE, or "none", where the root is already unpacked, beside this program's folder, /vm.
 * ROOT: the folder of the disk that is PROGRAM's root. DIRECTORY: where it runs. The environment is passed on.
 * /vm/modules are loaded in the order of their names, 00 to 99. What PROGRAM prints stands between two lines.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { TENTHS_TO_WAIT = 600 };

/* Ends the VM, after the serial line has taken all that was written. */
static void leave(void)
{
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
    reboot(RB_AUTOBOOT);
}

static void check(int done, const char *what)
{
    if (done >= 0)
        return;
    printf("init: %s: %s\n", what, strerror(errno));
    leave();
}

static void load_modules(void)
{
    for (int number = 0; number < 100; number++) {
        char path[sizeof "/vm/modules/00"];
        snprintf(path, sizeof path, "/vm/modules/%02d", number);
        int module = open(path, O_RDONLY | O_CLOEXEC);
        if (module < 0)
            return;
        check(syscall(SYS_finit_module, module, "", 0), path);
        close(module);
    }
}

/* A driver may find its disks some time after it was loaded. */
static void mount_disk(const char *device, const char *type)
{
    int done;
    for (int tenth = 0; tenth < TENTHS_TO_WAIT; tenth++) {
        done = mount(device, "/vm/root", type, MS_RDONLY, "");
        if (done == 0 || (errno != ENOENT && errno != ENXIO && errno != ENOMEDIUM))
            break;
        usleep(100000);
    }
    check(done, device);
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return EXIT_FAILURE;
    load_modules();
    if (strcmp(argv[1], "none") != 0) {
        check(mount("devtmpfs", "/vm/dev", "devtmpfs", 0, ""), "devtmpfs");
        mount_disk(argv[1], argv[2]);
    }
    puts("init: runs");
    fflush(stdout);
    pid_t program = fork();
    if (program == 0) {
        check(chroot(argv[3]), argv[3]);
        check(chdir(argv[4]), argv[4]);
        check(execv(argv[5], argv + 5), argv[5]);
    }
    int status;
    check(waitpid(program, &status, 0), "wait");
    printf("init: status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    leave();
}
