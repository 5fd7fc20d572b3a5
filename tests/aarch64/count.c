/* A plugin for qemu-user: how many instructions each function ran. Written to the file that the plugin's first
 * argument names (out=FILE), one "COUNT SYMBOL" a line, when the program ends.
 *
 * The few declarations of qemu's plugin interface (version 1) that it needs stand here, because Debian's
 * qemu-user comes without the header. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 = 0 };
typedef void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*ended)(qemu_plugin_id_t, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, ended, void *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* A list is enough: looked at when code is translated, not when it runs. */
struct function {
    char *symbol;
    uint64_t count;
    struct function *next;
};
static struct function *functions;
static const char *path = "instructions.txt";

static struct function *named(const char *symbol)
{
    if (!symbol || !*symbol)
        symbol = "?";
    for (struct function *f = functions; f; f = f->next)
        if (!strcmp(f->symbol, symbol))
            return f;
    struct function *f = calloc(1, sizeof *f);
    if (!f || !(f->symbol = strdup(symbol)))
        abort();
    f->next = functions;
    functions = f;
    return f;
}

static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(block);
    struct function *f = named(qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(block, 0)));
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &f->count, count);
}

static void on_end(qemu_plugin_id_t id, void *unused)
{
    (void)id;
    (void)unused;
    FILE *out = fopen(path, "w");
    if (!out)
        return;
    for (struct function *f = functions; f; f = f->next)
        fprintf(out, "%llu %s\n", (unsigned long long)f->count, f->symbol);
    fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv)
{
    (void)info;
    if (argc > 0 && !strncmp(argv[0], "out=", 4))
        path = strdup(argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
