# Writes C for a library that is loaded when one of its functions is first called.
#
# Input: lines "FUNCTION TEXT", TEXT being 1 where the function returns a string. Variables: lib (a
# name for the symbols), status (what the functions return where the library cannot be loaded),
# files (the names that are tried, in order).
#
# Each function is a jump through a table. An empty entry leads to `lazy`, which saves the registers
# that hold arguments (x86-64 System V), looks the function up, and jumps to it.

{ name[NR - 1] = $1; text[NR - 1] = $2 }

END {
    print "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stddef.h>\n"
    printf "__attribute__((visibility(\"hidden\"))) void *%s_table[%d];\n", lib, NR
    printf "static const char *const names[] = {"
    for (i = 0; i < NR; i++) printf "%s\"%s\"", i ? ", " : "", name[i]
    printf "};\nstatic const char texts[] = {"
    for (i = 0; i < NR; i++) printf "%s%d", i ? ", " : "", text[i]
    printf "};\nstatic const char *const files[] = {"
    n = split(files, file, " ")
    for (i = 1; i <= n; i++) printf "\"%s\", ", file[i]
    print "NULL};\n"
    printf "static int missing(void) { return %d; }\n", status
    print "static const char *missing_text(void) { return \"the library could not be loaded\"; }\n"
    print "__attribute__((visibility(\"hidden\"), used))"
    printf "void *%s_resolve(size_t index) {\n", lib
    print "    static void *library;"
    print "    for (int i = 0; !library && files[i]; i++) library = dlopen(files[i], RTLD_LAZY);"
    print "    void *found = library ? dlsym(library, names[index]) : NULL;"
    print "    if (!found) return texts[index] ? (void *)missing_text : (void *)missing;"
    printf "    return %s_table[index] = found;\n}\n\n", lib
    print "__asm__(\".text\\n\""
    printf "\"%s_lazy:\\n\"\n", lib
    split("rdi rsi rdx rcx r8 r9", integer, " ")
    for (i = 1; i <= 6; i++) printf "\"push %%%s\\n\"\n", integer[i]
    print "\"sub $136, %rsp\\n\""
    for (i = 0; i < 8; i++) printf "\"movups %%xmm%d, %d(%%rsp)\\n\"\n", i, 16 * i
    printf "\"mov %%r11, %%rdi\\ncall %s_resolve\\n\"\n", lib
    for (i = 0; i < 8; i++) printf "\"movups %d(%%rsp), %%xmm%d\\n\"\n", 16 * i, i
    print "\"add $136, %rsp\\n\""
    for (i = 6; i >= 1; i--) printf "\"pop %%%s\\n\"\n", integer[i]
    print "\"jmp *%rax\\n\""
    for (i = 0; i < NR; i++) {
        printf "\".globl %s\\n.type %s, @function\\n%s:\\n\"\n", name[i], name[i], name[i]
        printf "\"mov %s_table+%d(%%rip), %%r11\\ntest %%r11, %%r11\\njz 1f\\njmp *%%r11\\n\"\n", lib, 8 * i
        printf "\"1: mov $%d, %%r11d\\njmp %s_lazy\\n.size %s, .-%s\\n\"\n", i, lib, name[i], name[i]
    }
    print ");"
}
