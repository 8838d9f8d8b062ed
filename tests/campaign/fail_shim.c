/* LD_PRELOAD: one system call or one allocation of a program fails, by kind and number, wherever it is made:
 * the C library's own calls included, since a seccomp filter sends every call of interest to a handler here.
 *
 *     FAIL_KIND=write FAIL_N=7 FAIL_ERRNO=28   the 7th write of the program answers ENOSPC
 *     FAIL_HOW=from                            and so do all later ones
 *     FAIL_HOW=short                           half of it is done, which it says
 *     FAIL_HOW=late                            it is done, and answers the error all the same
 *     FAIL_COUNT=FILE                          adds "KIND CALLS" for every kind at the end of the program
 *
 * A child that was forked goes on counting where its parent was, and adds its own numbers. Writes to standard
 * error never fail: what goes wrong has to be said somewhere. Linux on x86-64. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the handler below reads the registers of Linux on x86-64"
#endif

enum {
    KIND_OPEN,
    KIND_READ,
    KIND_WRITE,
    KIND_SYNC,
    KIND_RENAME,
    KIND_UNLINK,
    KIND_MKDIR,
    KIND_LIST,
    KIND_LOCK,
    KIND_CLOSE,
    KIND_MAP,
    KIND_TRUNCATE,
    KIND_STAT,
    KIND_SEEK,
    KIND_MODE,
    KIND_LINK,
    KIND_CONTROL,
    KIND_PIPE,
    KIND_FORK,
    KIND_MEMORY,
    KIND_COUNT
};
static const char *const kind_name[KIND_COUNT] = {
    "open", "read",     "write", "sync", "rename", "unlink", "mkdir",   "list", "lock", "close",
    "map",  "truncate", "stat",  "seek", "mode",   "link",   "control", "pipe", "fork", "memory"};
static const struct {
    int number, kind;
} trapped[] = {
    {SYS_open, KIND_OPEN},          {SYS_openat, KIND_OPEN},       {SYS_creat, KIND_OPEN},
    {SYS_read, KIND_READ},          {SYS_pread64, KIND_READ},      {SYS_readv, KIND_READ},
    {SYS_write, KIND_WRITE},        {SYS_pwrite64, KIND_WRITE},    {SYS_writev, KIND_WRITE},
    {SYS_fsync, KIND_SYNC},         {SYS_fdatasync, KIND_SYNC},    {SYS_rename, KIND_RENAME},
    {SYS_renameat, KIND_RENAME},    {SYS_renameat2, KIND_RENAME},  {SYS_unlink, KIND_UNLINK},
    {SYS_unlinkat, KIND_UNLINK},    {SYS_rmdir, KIND_UNLINK},      {SYS_mkdir, KIND_MKDIR},
    {SYS_mkdirat, KIND_MKDIR},      {SYS_getdents64, KIND_LIST},   {SYS_flock, KIND_LOCK},
    {SYS_close, KIND_CLOSE},        {SYS_mmap, KIND_MAP},          {SYS_mremap, KIND_MAP},
    {SYS_ftruncate, KIND_TRUNCATE}, {SYS_truncate, KIND_TRUNCATE}, {SYS_fallocate, KIND_TRUNCATE},
    {SYS_stat, KIND_STAT},          {SYS_fstat, KIND_STAT},        {SYS_lstat, KIND_STAT},
    {SYS_newfstatat, KIND_STAT},    {SYS_statx, KIND_STAT},        {SYS_access, KIND_STAT},
    {SYS_faccessat, KIND_STAT},     {SYS_faccessat2, KIND_STAT},   {SYS_lseek, KIND_SEEK},
    {SYS_chmod, KIND_MODE},         {SYS_fchmod, KIND_MODE},       {SYS_fchmodat, KIND_MODE},
    {SYS_chown, KIND_MODE},         {SYS_fchown, KIND_MODE},       {SYS_fchownat, KIND_MODE},
    {SYS_link, KIND_LINK},          {SYS_linkat, KIND_LINK},       {SYS_symlink, KIND_LINK},
    {SYS_readlink, KIND_LINK},      {SYS_readlinkat, KIND_LINK},   {SYS_fcntl, KIND_CONTROL},
    {SYS_ioctl, KIND_CONTROL},      {SYS_pipe, KIND_PIPE},         {SYS_pipe2, KIND_PIPE},
};
enum { TRAPPED = sizeof trapped / sizeof *trapped };

static long calls[KIND_COUNT], target;
static int target_kind = -1, error_number = EIO, armed;
static enum { HOW_ONCE, HOW_FROM, HOW_SHORT, HOW_LATE } how;

static int hit(int kind) {
    long n = __atomic_add_fetch(&calls[kind], 1, __ATOMIC_RELAXED);
    return kind == target_kind && (how == HOW_FROM ? n >= target : n == target);
}

/* ---- system calls ---- */

/* The one place that the filter lets through. */
long fail_shim_syscall(long number, long a, long b, long c, long d, long e, long f);
extern const char fail_shim_gate[];
__asm__(".text\n.globl fail_shim_syscall\n.hidden fail_shim_syscall\n.type fail_shim_syscall, @function\n"
        "fail_shim_syscall:\n"
        "  mov %rdi, %rax\n  mov %rsi, %rdi\n  mov %rdx, %rsi\n  mov %rcx, %rdx\n  mov %r8, %r10\n  mov %r9, "
        "%r8\n"
        "  mov 8(%rsp), %r9\n  syscall\n"
        ".globl fail_shim_gate\n.hidden fail_shim_gate\n"
        "fail_shim_gate:\n  ret\n.size fail_shim_syscall, .-fail_shim_syscall\n");

static int chain_kind(int number) {
    for (int i = 0; i < TRAPPED; i++)
        if (trapped[i].number == number) return trapped[i].kind;
    return -1;
}

static void on_trap(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    int saved = errno, number = info->si_syscall, kind = chain_kind(number);
    greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
    long a = reg[REG_RDI], b = reg[REG_RSI], c = reg[REG_RDX], d = reg[REG_R10], e = reg[REG_R8],
         f = reg[REG_R9];
    int standard_error = kind == KIND_WRITE && a == STDERR_FILENO;
    int fails = armed && !standard_error && hit(kind);
    long result = -error_number;
    if (fails && how == HOW_SHORT && (kind == KIND_READ || kind == KIND_WRITE) && c > 1)
        result = fail_shim_syscall(number, a, b, c / 2, d, e, f);
    else if (!fails || how == HOW_LATE || kind == KIND_CLOSE) /* a failed close has closed */
        result = fail_shim_syscall(number, a, b, c, d, e, f);
    if (fails && how != HOW_SHORT && (how == HOW_LATE || kind == KIND_CLOSE) && result >= 0)
        result = -error_number;
    reg[REG_RAX] = result;
    errno = saved;
}

static void set_trap(void) {
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigaction(SIGSYS, &action, NULL);
    struct sock_filter filter[TRAPPED + 16];
    unsigned short n = 0;
    uint64_t gate = (uint64_t)(uintptr_t)fail_shim_gate;
#define AT(field) (unsigned)offsetof(struct seccomp_data, field)
#define PUT(...)  filter[n++] = (struct sock_filter)__VA_ARGS__
    PUT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(arch)));
    PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    PUT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(instruction_pointer)));
    PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)gate, 0, 3));
    PUT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(instruction_pointer) + 4));
    PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(gate >> 32), 0, 1));
    PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    PUT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(nr)));
    for (int i = 0; i < TRAPPED; i++)
        PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)trapped[i].number, (unsigned char)(TRAPPED - i),
                     0));
    PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
    struct sock_fprog program = {n, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        fprintf(stderr, "fail_shim: this system allows no seccomp filter: %s\n", strerror(errno));
        _exit(125);
    }
}

/* ---- allocations and processes: by name, since the C library blocks signals around the latter ---- */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static int memory_fails(void) {
    if (!armed || !hit(KIND_MEMORY)) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t bytes) {
    return memory_fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    return memory_fails() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
    return memory_fails() ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return memory_fails() ? NULL : __libc_memalign(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    return memory_fails() ? NULL : __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    if (memory_fails()) return ENOMEM;
    *memory = __libc_memalign(alignment, bytes);
    return *memory ? 0 : ENOMEM;
}

pid_t fork(void) {
    static pid_t (*real)(void);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fork");
    if (armed && hit(KIND_FORK)) return errno = error_number, -1;
    return real();
}

/* A thread that cannot be made counts among processes. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *context) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (armed && hit(KIND_FORK)) return error_number;
    return real(thread, attr, run, context);
}

/* ---- start and end ---- */

static void write_counts(void) {
    const char *path = getenv("FAIL_COUNT");
    armed = 0;
    if (!path) return;
    char line[64];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    for (int kind = 0; kind < KIND_COUNT && fd >= 0; kind++) {
        int length = snprintf(line, sizeof line, "%s %ld\n", kind_name[kind], calls[kind]);
        if (write(fd, line, (size_t)length) != length) break;
    }
    if (fd >= 0) close(fd);
}

void _exit(int code) {
    write_counts();
    for (;;) fail_shim_syscall(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

__attribute__((constructor)) static void arm(void) {
    const char *kind = getenv("FAIL_KIND"), *number = getenv("FAIL_N"), *error = getenv("FAIL_ERRNO"),
               *way = getenv("FAIL_HOW");
    for (int k = 0; kind && k < KIND_COUNT; k++)
        if (!strcmp(kind, kind_name[k])) target_kind = k;
    if (kind && target_kind < 0) {
        fprintf(stderr, "fail_shim: no kind '%s'\n", kind);
        _exit(125);
    }
    if (number) target = atol(number);
    if (error) error_number = atoi(error);
    if (way)
        how = !strcmp(way, "from")    ? HOW_FROM
              : !strcmp(way, "short") ? HOW_SHORT
              : !strcmp(way, "late")  ? HOW_LATE
                                      : HOW_ONCE;
    atexit(write_counts);
    set_trap();
    armed = 1;
}
