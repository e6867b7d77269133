#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "init/batch.h"
#include "init/capability.h"
#include "init/check.h"
#include "init/conntrack_apply.h"
#include "init/foreign.h"
#include "init/half_closed_list.h"
#include "init/half_closed_watch.h"
#include "init/listeners.h"
#include "init/netlink.h"
#include "init/netns.h"
#include "init/options.h"
#include "init/plan.h"
#include "init/probe.h"
#include "init/report.h"
#include "init/rules.h"
#include "init/show.h"
#include "init/status.h"
#include "init/tw_reuse.h"
#include "lib/conntrack.h"
#include "lib/log.h"
#include "lib/text.h"

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_SOME = 3, EXIT_USAGE = 64, EXIT_CHECK = 95 };

/* What every subcommand works with. */
struct main_job {
	const struct init_options *options;
	struct log *log;
	struct netlink *netlink; /* NULL when the kernel has none */
	int netlink_error;       /* why */
	struct plan_facts facts;
	struct plan plan;
};

static double main_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int main_fail(struct main_job *job, int code, struct text *error, int status)
{
	fflush(stdout); /* results come before the verdict on them */
	log_message(job->log, LOG_ERROR, "%s", error->length ? error->data : strerror(-status));
	return code;
}

/* --- notes on the options --- */

static void main_note_ignored(struct main_job *job)
{
	const struct ignored_options *ignored = &job->options->ignored;
	TEXT_ON_STACK(names, 256);

	if (ignored->firewall_bin_path)
		text_string(&names, " --firewall-bin-path");
	if (ignored->firewall_save_bin_path)
		text_string(&names, " --firewall-save-bin-path");
	if (ignored->iptables_mode)
		text_string(&names, " --iptables-mode");
	if (ignored->use_wait_flag)
		text_string(&names, " --use-wait-flag");
	if (names.length)
		log_message(job->log, LOG_INFO, "without effect, since no firewall program is used:%s", names.data);
}

static void main_note_plan(struct main_job *job)
{
	const struct init_options *options = job->options;

	main_note_ignored(job);
	if (options->proxy_uid.id == 0)
		log_message(job->log, LOG_WARN, "--proxy-uid is 0: nothing that runs as root here is redirected outbound");
	if (options->proxy_gid.set && options->proxy_gid.id == 0)
		log_message(job->log, LOG_WARN, "--proxy-gid is 0: nothing of the group root here is redirected outbound");
	if (job->facts.tcp_be_liberal && !options->keep_invalid)
		log_message(job->log, LOG_INFO, "nf_conntrack_tcp_be_liberal is 1, so invalid packets are kept");
	for (size_t i = 0; i < options->skip_subnets.count && !job->plan.ipv6; i++)
		if (options->skip_subnets.list[i].addr.family == AF_INET6) {
			log_message(job->log, LOG_INFO, "no IPv6 in this namespace: IPv6 subnets of --skip-subnets have no effect");
			break;
		}
}

/* --- the plan --- */

static int main_plan(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	uint64_t liberal = 0, loose = 1;
	int status;

	job->facts = (struct plan_facts){.ipv6 = netns_has_ipv6(), .socket_match = true};
	if (!conntrack_setting_read("nf_conntrack_tcp_be_liberal", &liberal))
		job->facts.tcp_be_liberal = liberal != 0;
	if (!conntrack_setting_read("nf_conntrack_tcp_loose", &loose))
		job->facts.tcp_strict = loose == 0;
	status = plan_make(job->options, &job->facts, &job->plan, &error);
	if (status == -EINVAL) { /* options that contradict each other are told as a single bad one is */
		fprintf(stderr, "lapse-init: %s\n", error.data);
		return EXIT_USAGE;
	}
	if (status)
		return main_fail(job, EXIT_RUNTIME, &error, status);
	main_note_plan(job);
	return EXIT_OK;
}

/* The one expression that can be done without. 0 or -ENOMEM. */
static int main_plan_without_socket(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	struct plan plan;
	int status;

	job->facts.socket_match = false;
	status = plan_make(job->options, &job->facts, &plan, &error);
	if (status)
		return status;
	plan_free(&job->plan);
	job->plan = plan;
	log_message(job->log, LOG_WARN,
	            "the kernel has no nf_tables socket expression (CONFIG_NFT_SOCKET, Linux 5.11): ports where nobody listens are "
	            "redirected too, so a probe that only connects succeeds there; and a connection older than the rules may miss that "
	            "its peer closed it");
	return 0;
}

/* --- install --- */

static const char *main_families(const struct plan *plan)
{
	if (plan->ipv4 && plan->ipv6)
		return "ipv4 ipv6";
	return plan->ipv4 ? "ipv4" : "ipv6";
}

static void main_print_plan(const struct main_job *job)
{
	const uint32_t *seconds = job->options->conntrack_seconds;

	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		if (seconds[i])
			printf("# conntrack: %s timeout %us\n", conntrack_state_name((enum conntrack_state)i), seconds[i]);
	if (!job->options->keep_tcp_tw_reuse)
		puts("# sysctl: net.ipv4.tcp_tw_reuse 1, where /proc/sys may be written");
	show_plan(&job->plan, stdout);
}

enum main_send { MAIN_COMMIT, MAIN_TRY };

/* Installs the plan, NULL: removes the table. *lacks_socket tells that only the socket expression stood in the way. */
static int main_send(struct main_job *job, enum main_send how, const struct plan *plan, bool *lacks_socket, struct text *error)
{
	struct batch *batch = NULL;
	int status = batch_new(&batch);

	*lacks_socket = false;
	if (!status)
		status = plan ? rules_add_install(batch, plan) : rules_add_remove(batch);
	if (status) {
		text_string(error, "out of memory");
	} else if (!job->netlink) {
		status = job->netlink_error;
		batch_explain(status, "open a netfilter socket", "", "", error);
	} else {
		status = how == MAIN_COMMIT ? batch_commit(batch, job->netlink, error) : batch_try(batch, job->netlink, error);
		*lacks_socket = !strcmp(batch_lacks(batch), "socket");
	}
	batch_free(batch);
	return status;
}

static void main_log_installed(struct main_job *job, double started)
{
	const struct init_options *options = job->options;
	struct log_line line;

	if (!log_wants(job->log, LOG_INFO))
		return;
	log_begin(&line, job->log, LOG_INFO, "rules installed");
	log_string(&line, "table", "inet " PLAN_TABLE);
	log_number(&line, "inbound_port", options->inbound_port);
	log_number(&line, "outbound_port", options->outbound_port);
	log_string(&line, "families", main_families(&job->plan));
	log_number(&line, "proxy_uid", options->proxy_uid.id);
	if (options->proxy_gid.set)
		log_number(&line, "proxy_gid", options->proxy_gid.id);
	log_string(&line, "inbound", options->inbound_ports.count ? "listed ports" : "all ports");
	log_string(&line, "dead_ports", job->facts.socket_match && !options->redirect_dead_ports ? "refused" : "redirected");
	log_bool(&line, "drop_invalid", job->plan.chains[PLAN_GUARD]);
	log_number(&line, "rules", (int64_t)job->plan.rule_count);
	log_number(&line, "took_us", (int64_t)((main_milliseconds() - started) * 1e3));
	log_end(&line);
}

/* Whether install must not go on: every connection of a machine would be redirected. */
static bool main_refuse_node(struct main_job *job)
{
	struct foreign foreign;

	if (job->options->allow_host_network)
		return false;
	foreign_look(job->netlink, &foreign);
	if (netns_is_host())
		log_message(job->log, LOG_ERROR,
		            "cannot install: this is the host's network namespace (or /proc is not there to tell), and every connection of "
		            "the machine would be redirected; take hostNetwork away, name another with --netns, or insist with "
		            "--allow-host-network");
	else if (foreign.node[0])
		log_message(job->log, LOG_ERROR,
		            "cannot install: this looks like the network namespace of a node, since %s, and every connection of the node "
		            "would be redirected; take hostNetwork away, name another with --netns, or insist with --allow-host-network",
		            foreign.node);
	else
		return false;
	return true;
}

/* Who is redirected by two, meets whichever comes first. */
static void main_note_mesh(struct main_job *job)
{
	struct foreign foreign;

	foreign_look(job->netlink, &foreign);
	if (foreign.mesh[0])
		log_message(job->log, LOG_WARN,
		            "%s is in this network namespace too: a connection is redirected by whichever rule it meets first; inject one "
		            "sidecar, not both",
		            foreign.mesh);
}

/* Conntrack goes first: without its values rules may stand, but rules must not stand when the proxy will not start. */
static int main_install(struct main_job *job)
{
	double started = main_milliseconds();
	TEXT_ON_STACK(error, 1024);
	bool lacks_socket = false;
	int status;

	if (job->options->dry_run) {
		main_print_plan(job);
		return EXIT_OK;
	}
	if (main_refuse_node(job))
		return EXIT_RUNTIME;
	if (!job->options->keep_tcp_tw_reuse && !netns_is_host())
		tw_reuse_apply(job->log);
	status = conntrack_apply(job->netlink, job->options->conntrack_seconds, job->log, &error);
	if (!status)
		status = main_send(job, MAIN_COMMIT, &job->plan, &lacks_socket, &error);
	if (status && lacks_socket && !main_plan_without_socket(job)) {
		text_init(&error, error.data, error.size);
		status = main_send(job, MAIN_COMMIT, &job->plan, &lacks_socket, &error);
	}
	if (status)
		return main_fail(job, EXIT_RUNTIME, &error, status);
	main_log_installed(job, started);
	main_note_mesh(job);
	return EXIT_OK;
}

/* --- the other subcommands --- */

static int main_remove(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	bool lacks_socket;
	int status;

	if (job->options->dry_run) {
		puts("add table inet " PLAN_TABLE "\ndelete table inet " PLAN_TABLE);
		return EXIT_OK;
	}
	status = main_send(job, MAIN_COMMIT, NULL, &lacks_socket, &error);
	if (status)
		return main_fail(job, EXIT_RUNTIME, &error, status);
	log_message(job->log, LOG_INFO, "rules removed");
	return EXIT_OK;
}

/* Where rules differ, this kernel may be one that install did without the socket expression for. */
static void main_check_for_socket(struct main_job *job)
{
	TEXT_ON_STACK(unused, 1024);
	struct report none = {.to = NULL};
	bool lacks_socket = false;

	if (check_rules(job->netlink, &job->plan, &none, &unused) == 1)
		main_send(job, MAIN_TRY, &job->plan, &lacks_socket, &unused);
	if (lacks_socket)
		main_plan_without_socket(job);
}

static void main_report_conntrack(struct report *report, const char *state, uint32_t wanted, uint32_t found)
{
	if (!report->as_json) {
		fprintf(report->to, "- conntrack %s %us\n+ conntrack %s %us\n", state, wanted, state, found);
		return;
	}
	json_open(&report->json, NULL, '{');
	json_string(&report->json, "state", state);
	json_number(&report->json, "wanted_s", wanted);
	json_number(&report->json, "found_s", found);
	json_close(&report->json, '}');
}

/* Whether conntrack keeps what install was told to set: as the rules, lines of - and +. How many states differ. */
static int main_check_conntrack(const struct main_job *job, struct report *report)
{
	const uint32_t *wanted = job->options->conntrack_seconds;
	uint32_t found[CONNTRACK_STATE_COUNT] = {0};
	int differences = 0;

	report_list(report, "conntrack");
	(void)conntrack_apply_read(job->netlink, found); /* what cannot be read stays 0 and differs */
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++) {
		if (!wanted[i] || wanted[i] == found[i])
			continue;
		main_report_conntrack(report, conntrack_state_name((enum conntrack_state)i), wanted[i], found[i]);
		differences++;
	}
	return differences;
}

/* 0; 1: not as it should be; or -errno: it cannot be told. `error` says what. */
static int main_check_all(struct main_job *job, struct report *report, struct text *error)
{
	int status = job->netlink ? 0 : job->netlink_error;

	if (status) {
		batch_explain(status, "open a netfilter socket", "", "", error);
		return status;
	}
	main_note_mesh(job);
	main_check_for_socket(job);
	status = check_rules(job->netlink, &job->plan, report, error);
	if (!status && main_check_conntrack(job, report)) {
		text_string(error, "conntrack's timeouts are not as these options make them (- asked for, + in force); lapse-init install "
		                   "sets them");
		status = 1;
	}
	if (!status && !job->options->without_proxy)
		status = listeners_check(job->options, &job->plan, report, error);
	if (!status)
		status = probe_redirect(job->options, &job->plan, report, error);
	return status;
}

static int main_check(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	struct report report;
	int status;

	report_begin(&report, stdout, job->options->json);
	status = main_check_all(job, &report, &error);
	report_end(&report, !status, error.length ? error.data : strerror(-status));
	if (status)
		return main_fail(job, status < 0 ? EXIT_RUNTIME : EXIT_CHECK, &error, status);
	fflush(stdout);
	log_message(job->log, LOG_INFO, "the rules are as these options make them%s",
	            job->options->without_proxy ? "" : ", and a proxy listens where they lead to");
	return EXIT_OK;
}

static int main_status(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	int status;

	if (!job->netlink) {
		batch_explain(job->netlink_error, "open a netfilter socket", "", "", &error);
		return main_fail(job, EXIT_RUNTIME, &error, job->netlink_error);
	}
	status = status_print(job->netlink, job->options->json, stdout, &error);
	return status ? main_fail(job, EXIT_RUNTIME, &error, status) : EXIT_OK;
}

static int main_half_closed(struct main_job *job)
{
	TEXT_ON_STACK(error, 1024);
	size_t found = 0;
	int status;

	if (job->options->watch)
		status = half_closed_watch(job->options, job->log, &error);
	else
		status = half_closed_list(job->options, job->log, &found, &error);
	if (status)
		return main_fail(job, EXIT_RUNTIME, &error, status);
	return found ? EXIT_SOME : EXIT_OK;
}

/* One row per subcommand, in the order of options_table. */
static const struct {
	int (*run)(struct main_job *job);
	bool needs_plan;
} main_commands[] = {
	[INIT_INSTALL] = {main_install, true},
	[INIT_REMOVE] = {main_remove, false},
	[INIT_CHECK] = {main_check, true},
	[INIT_STATUS] = {main_status, false},
	[INIT_HALF_CLOSED] = {main_half_closed, false},
};

/* --- start --- */

static void main_note_environment(struct main_job *job)
{
	TEXT_ON_STACK(unknown, 512);
	TEXT_ON_STACK(services, 512);

	options_environment_look(&options_table, environ, &unknown, &services);
	if (unknown.length)
		log_message(job->log, LOG_WARN, "not options of lapse-init, and not read: %s", unknown.data);
	if (services.length)
		log_message(job->log, LOG_WARN, "made by Kubernetes for a Service, and not read: %s", services.data);
}

static int main_run(struct main_job *job, int command)
{
	TEXT_ON_STACK(error, 1024);
	int code = EXIT_OK, status;

	main_note_environment(job);
	status = job->options->netns && job->options->netns[0] ? netns_enter(job->options->netns, &error) : 0;
	if (status)
		return main_fail(job, EXIT_RUNTIME, &error, status);
	if (main_commands[command].needs_plan)
		code = main_plan(job);
	if (code)
		return code;
	job->netlink_error = netlink_open(&job->netlink);
	code = main_commands[command].run(job);
	netlink_close(job->netlink);
	plan_free(&job->plan);
	return code;
}

int main(int argc, char **argv)
{
	struct init_options options;
	struct main_job job = {.options = &options};
	TEXT_ON_STACK(error, 1024);
	int command, code = EXIT_USAGE;

	log_fill_standard();
	capability_raise();
	if (options_read(argc, argv, environ, &options, &command, &error)) {
		fprintf(stderr, "lapse-init: %s\n", error.data);
	} else if (command == OPTIONS_HELP) {
		options_print_help(&options_table, stdout);
		code = EXIT_OK;
	} else if (command == OPTIONS_VERSION) {
		puts("lapse-init " LAPSE_VERSION);
		code = EXIT_OK;
	} else if (options.print_man) {
		options_print_man(&options_table, stdout);
		code = EXIT_OK;
	} else if (log_new(&job.log, STDERR_FILENO, options.log_format, options.log_level, 0)) {
		fputs("lapse-init: out of memory\n", stderr);
		code = EXIT_RUNTIME;
	} else {
		code = main_run(&job, command);
		log_free(job.log);
	}
	options_free(&options);
	if ((fflush(stdout) || ferror(stdout)) && (code == EXIT_OK || code == EXIT_SOME)) {
		fprintf(stderr, "lapse-init: cannot write to standard output: %s\n", strerror(errno));
		code = EXIT_RUNTIME;
	}
	return code;
}
