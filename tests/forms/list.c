/* Prints what a folder holds, an entry a line: how many names it has, and then what it is, in the words of
 * tests/support/roots.py but without xattrs. Ends of lines in a name or a target are printed as \n and \r. File systems
 * that are mounted in the folder are left out.
 *
 *     list FOLDER
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ENTRIES_MAX = 100000, PATH_SIZE = 65536 };

static int hash; /* the kernel's SHA-256 */
static char path[PATH_SIZE];
static char chunk[PATH_SIZE];
static struct { ino_t number; char *path; } firsts[ENTRIES_MAX];
static size_t first_count;

static int checked(long done, const char *what)
{
    if (done < 0)
        err(EXIT_FAILURE, "%s", what);
    return (int)done;
}

static void put(const char *text)
{
    for (; *text; text++)
        if (*text == '\n')
            fputs("\\n", stdout);
        else if (*text == '\r')
            fputs("\\r", stdout);
        else
            putchar(*text);
}

static void put_hash(int folder, const char *name)
{
    int file = checked(openat(folder, name, O_RDONLY), path);
    int running = checked(accept(hash, NULL, 0), "accept");
    ssize_t length;
    while ((length = read(file, chunk, sizeof chunk)) > 0)
        checked(send(running, chunk, (size_t)length, MSG_MORE), "send");
    checked(length, path);
    unsigned char digest[32];
    checked(recv(running, digest, sizeof digest, 0), "recv");
    putchar(' ');
    for (int i = 0; i < 8; i++)
        printf("%02x", digest[i]);
    close(running);
    close(file);
}

/* The path where an inode was seen before, or null the first time. */
static const char *seen(ino_t number)
{
    for (size_t i = 0; i < first_count; i++)
        if (firsts[i].number == number)
            return firsts[i].path;
    if (first_count == ENTRIES_MAX)
        errx(EXIT_FAILURE, "more than %d entries", ENTRIES_MAX);
    firsts[first_count].number = number;
    firsts[first_count++].path = strdup(path);
    return NULL;
}

static void put_entry(int folder, const char *name, const struct stat *about)
{
    printf("%lu ", (unsigned long)about->st_nlink);
    put(path);
    const char *first = S_ISDIR(about->st_mode) ? NULL : seen(about->st_ino);
    if (first) {
        put(" = ");
        put(first);
        puts("");
        return;
    }
    const char kind = "?pc?d?b?f?l?s???"[about->st_mode >> 12];
    long long mtime_ns = about->st_mtim.tv_sec * 1000000000LL + about->st_mtim.tv_nsec;
    printf(" %c %04o %u:%u %lld", kind, about->st_mode & 07777, about->st_uid, about->st_gid, mtime_ns);
    if (S_ISREG(about->st_mode)) {
        printf(" %lld", (long long)about->st_size);
        put_hash(folder, name);
    } else if (S_ISLNK(about->st_mode)) {
        chunk[checked(readlinkat(folder, name, chunk, sizeof chunk - 1), path)] = '\0';
        put(" -> ");
        put(chunk);
    } else if (S_ISCHR(about->st_mode) || S_ISBLK(about->st_mode)) {
        printf(" %u,%u", major(about->st_rdev), minor(about->st_rdev));
    }
    puts("");
}

static int is_child(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

/* The entry `name` of `folder`, with `path`, and all below it. */
static void walk(int folder, const char *name, dev_t device)
{
    struct stat about;
    checked(fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW), path);
    if (about.st_dev != device)
        return;
    put_entry(folder, name, &about);
    if (!S_ISDIR(about.st_mode))
        return;
    int here = checked(openat(folder, name, O_RDONLY | O_DIRECTORY), path);
    struct dirent **entries;
    int count = checked(scandirat(here, ".", &entries, is_child, by_bytes), path);
    size_t length = strcmp(path, ".") == 0 ? 0 : strlen(path);
    for (int i = 0; i < count; i++) {
        snprintf(path + length, sizeof path - length, length ? "/%s" : "%s", entries[i]->d_name);
        walk(here, entries[i]->d_name, device);
        free(entries[i]);
    }
    path[length] = '\0';
    free(entries);
    close(here);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return EXIT_FAILURE;
    struct sockaddr_alg sha256 = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
    hash = checked(socket(AF_ALG, SOCK_SEQPACKET, 0), "AF_ALG");
    checked(bind(hash, (struct sockaddr *)&sha256, sizeof sha256), "sha256");
    struct stat root;
    checked(stat(argv[1], &root), argv[1]);
    strcpy(path, ".");
    walk(AT_FDCWD, argv[1], root.st_dev);
    return EXIT_SUCCESS;
}
