/* What the example images run: greets, then prints who and where it is, a fact a line.
 *
 * It needs no C library, only the kernel, so that it is a few kilobytes, the same from every build, and runs in
 * an otherwise empty image. It reads nothing but its arguments and its environment: $IMAGE is whom it greets for.
 */

/* The kernel hands over the stack: argc, argv[0..argc], envp[]. Each _start passes its address to run(). */

#if defined(__x86_64__)

#define ARCH "amd64"
enum { SYS_write = 1, SYS_getcwd = 79, SYS_getuid = 102, SYS_getgid = 104, SYS_getgroups = 115, SYS_exit_group = 231 };

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call run\n");

static long syscall3(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

#else /* the numbers that all newer architectures share */

enum { SYS_getcwd = 17, SYS_write = 64, SYS_exit_group = 94, SYS_getgroups = 158, SYS_getuid = 174, SYS_getgid = 176 };

#if defined(__aarch64__)

#define ARCH "arm64"

__asm__(".globl _start\n_start: mov x29, xzr\n mov x30, xzr\n mov x0, sp\n bl run\n");

static long syscall3(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

#elif defined(__riscv) && __riscv_xlen == 64

#define ARCH "riscv64"

/* The linker may address data relative to gp, so gp comes first (and may not itself be addressed that way). */
__asm__(".globl _start\n_start: .option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n"
        " mv a0, sp\n call run\n");

static long syscall3(long number, long a, long b, long c)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}

#else
#error "no system calls known for this architecture"
#endif
#endif

enum { GROUPS_MAX = 65536, PATH_MAX = 4096 }; /* the kernel's own limits */

_Noreturn static void leave(int status)
{
    for (;;)
        syscall3(SYS_exit_group, status, 0, 0);
}

static void put(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    while (length > 0) {
        long written = syscall3(SYS_write, 1, (long)text, length);
        if (written <= 0)
            leave(1);
        text += written;
        length -= written;
    }
}

static void put_line(const char *name, const char *value)
{
    put(name);
    put(" ");
    put(value);
    put("\n");
}

static void put_number(const char *name, unsigned number)
{
    char digits[11];
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    put_line(name, first);
}

/* The value of "NAME=value" where `prefix` is "NAME=", else null. */
static const char *after(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return 0;
    return text;
}

__attribute__((used)) _Noreturn void run(long *stack)
{
    char **argv = (char **)(stack + 1);
    char **envp = argv + stack[0] + 1;

    const char *image = "no image";
    for (char **variable = envp; *variable; variable++) {
        const char *value = after(*variable, "IMAGE=");
        if (value)
            image = value;
    }
    put("Hello from ");
    put(image);
    put(" on linux/" ARCH "\n");

    put_number("uid", (unsigned)syscall3(SYS_getuid, 0, 0, 0));
    put_number("gid", (unsigned)syscall3(SYS_getgid, 0, 0, 0));
    unsigned groups[GROUPS_MAX];
    long count = syscall3(SYS_getgroups, GROUPS_MAX, (long)groups, 0);
    for (long i = 0; i < count; i++)
        put_number("group", groups[i]);

    char cwd[PATH_MAX];
    put_line("cwd", syscall3(SYS_getcwd, (long)cwd, sizeof cwd, 0) > 0 ? cwd : "?");
    while (*argv)
        put_line("arg", *argv++);
    while (*envp)
        put_line("env", *envp++);
    leave(0);
}
