/* A disk that can lose power, fill up and fail, preloaded into the process under test.
 *
 * It keeps, in LOSSY_SHADOW, what would outlive a power loss of the files under LOSSY_DIRECTORY:
 *   inode/N   the content of file N when it was last synced
 *   names/N   the lines "type inode name" of directory N when it was last synced
 * Nothing else outlives it: a file's name only by a sync of its directory. Nothing is really synced.
 * Removed files are kept in grave/, so that no inode number is used twice.
 * While LOSSY_SHADOW/full exists, writes find no room (only those to paths with its content in them, if it has any); while LOSSY_SHADOW/failing exists, syncs fail;
 * while LOSSY_SHADOW/stalled exists, they wait.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static void die(const char *what) {
    perror(what);
    abort();
}

static int is_ours(const char *path) {
    const char *root = getenv("LOSSY_DIRECTORY");
    size_t length = root ? strlen(root) : 0;
    return length && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_ours(path);
}

static void shadow(char path[PATH_MAX], const char *name) {
    snprintf(path, PATH_MAX, "%s/%s", getenv("LOSSY_SHADOW"), name);
}

static int is_set(const char *flag) {
    char path[PATH_MAX];
    shadow(path, flag);
    return access(path, F_OK) == 0;
}

static void keep_content(int fd, FILE *out) {
    char link[64], chunk[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    FILE *in = fopen(link, "r");
    if (!in) die("shim: reading a file");
    size_t length;
    while ((length = fread(chunk, 1, sizeof chunk, in)) > 0)
        if (fwrite(chunk, 1, length, out) != length) die("shim: keeping a file");
    fclose(in);
}

static void keep_names(const char *path, FILE *out) {
    DIR *directory = opendir(path);
    if (!directory) die("shim: reading a directory");
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (entry->d_type != DT_DIR && entry->d_type != DT_REG) continue;
        fprintf(out, "%c %llu %s\n", entry->d_type == DT_DIR ? 'd' : 'f', (unsigned long long)entry->d_ino, entry->d_name);
    }
    closedir(directory);
}

static int keep(int fd, const char *real_name) {
    char path[PATH_MAX], draft[PATH_MAX], name[64], kept[PATH_MAX];
    if (!path_of(fd, path)) return ((int (*)(int))real(real_name))(fd);
    while (is_set("stalled")) usleep(1000);
    if (is_set("failing")) {
        errno = EIO;
        return -1;
    }
    struct stat stat;
    if (fstat(fd, &stat) != 0) die("shim: fstat");
    snprintf(name, sizeof name, "%s/%llu", S_ISDIR(stat.st_mode) ? "names" : "inode", (unsigned long long)stat.st_ino);
    shadow(kept, name);
    shadow(draft, "draft");
    pthread_mutex_lock(&lock);
    FILE *out = fopen(draft, "w");
    if (!out) die("shim: making a draft");
    if (S_ISDIR(stat.st_mode)) keep_names(path, out);
    else keep_content(fd, out);
    /* A kill in between leaves what was kept before. */
    if (fclose(out) != 0 || ((int (*)(const char *, const char *))real("rename"))(draft, kept) != 0) die("shim: keeping");
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return keep(fd, "fsync"); }
int fdatasync(int fd) { return keep(fd, "fdatasync"); }

static void bury(const char *path) {
    static int count;
    char name[64], grave[PATH_MAX], absolute[PATH_MAX];
    if (!realpath(path, absolute) || !is_ours(absolute)) return;
    snprintf(name, sizeof name, "grave/%d-%d", getpid(), __sync_fetch_and_add(&count, 1));
    shadow(grave, name);
    if (link(absolute, grave) != 0) die("shim: burying");
}

int unlink(const char *path) {
    bury(path);
    return ((int (*)(const char *))real("unlink"))(path);
}

int rename(const char *from, const char *to) {
    bury(to);
    return ((int (*)(const char *, const char *))real("rename"))(from, to);
}

static int has_no_room(int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !is_set("full")) return 0;
    char full[PATH_MAX], part[PATH_MAX] = "";
    shadow(full, "full");
    FILE *file = fopen(full, "r");
    if (file != NULL) {
        size_t length = fread(part, 1, sizeof part - 1, file);
        part[length] = 0;
        fclose(file);
    }
    if (strstr(path, part) == NULL) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *from, size_t length) {
    if (has_no_room(fd)) return -1;
    return ((ssize_t (*)(int, const void *, size_t))real("write"))(fd, from, length);
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) {
    if (has_no_room(fd)) return -1;
    return ((ssize_t (*)(int, const void *, size_t, off_t))real("pwrite"))(fd, from, length, at);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    if (has_no_room(fd)) return -1;
    return ((ssize_t (*)(int, const void *, size_t, off64_t))real("pwrite64"))(fd, from, length, at);
}
