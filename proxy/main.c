/* Start, rights, workers, signals, end. */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conntrack.h"
#include "lib/duration.h"
#include "lib/local_ports.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/options.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/walk.h"
#include "proxy/connection/advice.h"
#include "proxy/connection/self_dial.h"
#include "proxy/connection/worker.h"
#include "proxy/connection/worker_thread.h"
#include "proxy/docs.h"
#include "proxy/explain/check_config.h"
#include "proxy/explain/explain.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/proto_http1.h"
#include "proxy/http2/proto_http2.h"
#include "proxy/inject/inject.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/reload.h"
#include "proxy/ready.h"
#include "proxy/settings/settings.h"
#include "proxy/why/why.h"

enum {
	EXIT_USAGE = 64,
	EXIT_CONFIGURATION = 65,
	WORKERS_MOST = 256,
	DESCRIPTORS_SPARE = 128,     /* for listeners, epoll, the log, admin clients and idle pipes, and per worker */
	DESCRIPTORS_PER_CONNECTION = 2,
	CLOSE_WAIT_DEFAULT_S = 60,   /* nf_conntrack_tcp_timeout_close_wait where it cannot be read */
	LOG_RING = 32 * 1024,
	LARGE_BLOCK = 132 * 1024,    /* bytes */
	PORT_TRIES = 30, /* 3 s in all */
	PORT_RETRY_MS = 100,
};

/* The process: what main() builds and takes down. */
struct process {
	struct settings settings;
	struct http1_settings http1;
	struct proxy proxy;
	struct reload *reload;
	struct worker *workers[WORKERS_MOST];
	int worker_count;
	struct loop *loop;
	struct log *log;
	int log_fd;
	struct admin *admin;
	char hostname[HOST_NAME_MAX + 1];
	struct loop_source signals;
	struct wheel_timer log_timer;
	struct wheel_timer leave_timer; /* drainLeast */
	struct self_dial self_dial;
};

#define process_of(pointer, member) ((struct process *)(void *)((char *)(pointer) - offsetof(struct process, member)))

/* --- what the machine gives --- */

/* CPUs of a quota in microseconds a period, rounded up; 0 = none. */
static int main_quota_cpus(long long quota, long long period)
{
	return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

static long long main_read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	long long number = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lld", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

/* The cgroup's CPU quota, of version 2, then of version 1; 0 = none. */
static int main_cgroup_cpus(void)
{
	FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
	long long quota = 0, period = 0;

	if (!file)
		return main_quota_cpus(main_read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
		                       main_read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
	if (fscanf(file, "%lld %lld", &quota, &period) != 2)
		quota = 0;
	fclose(file);
	return main_quota_cpus(quota, period);
}

static int main_cpus(void)
{
	cpu_set_t set;
	int cpus = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set), quota = main_cgroup_cpus();

	if (quota && quota < cpus)
		cpus = quota;
	return cpus < WORKERS_MOST ? cpus : WORKERS_MOST;
}

/* Raises the soft limit of open files to the hard one and says how many connections that carries. */
static uint64_t main_connections(const struct settings *settings, int workers, struct log *log)
{
	struct rlimit limit = {0};
	uint64_t spare = DESCRIPTORS_SPARE + (uint64_t)workers * 8, most;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	most = limit.rlim_cur > spare + DESCRIPTORS_PER_CONNECTION ? (limit.rlim_cur - spare) / DESCRIPTORS_PER_CONNECTION : 1;
	if (settings->max_connections && (uint64_t)settings->max_connections <= most)
		return (uint64_t)settings->max_connections;
	if (settings->max_connections)
		log_message(log, LOG_WARN,
		            "--max-connections %lld is cut to %llu, as many as the limit of %llu open files carries; raise that (ulimit -n)",
		            (long long)settings->max_connections, (unsigned long long)most, (unsigned long long)limit.rlim_cur);
	return most;
}

/* --- rights --- */

/* From root to the proxy's uid; no capability, no new rights by exec, no core file with other people's bytes in it. */
static int main_drop_rights(const struct settings *settings, struct log *log)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	struct rlimit no_core = {0, 0};
	uid_t uid = (uid_t)settings->uid;

	if (!geteuid() && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) {
		int error = errno;

		log_message(log, LOG_ERROR,
		            "becoming uid %u failed: %s%s", uid, strerror(error),
		            error == EPERM ? "; start it as that user (securityContext: runAsUser, runAsGroup), or as root with "
		                             "capabilities: add: [SETUID, SETGID]"
		                           : "");
		return -error;
	}
	if (syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setrlimit(RLIMIT_CORE, &no_core)) {
		log_message(log, LOG_ERROR, "giving up privileges failed: %s", strerror(errno));
		return -errno;
	}
	return 0;
}

/* --- conntrack --- */

/* A state of conntrack, and the timeouts that let a connection be silent in it. */
static const struct remembered {
	enum conntrack_state state;
	enum timeout_id timers[3];
} remembered[] = {
    {CONNTRACK_ESTABLISHED, {TIMEOUT_TCP_IDLE, TIMEOUT_IDLE_CONNECTION, TIMEOUT_STREAM_IDLE}},
    {CONNTRACK_CLOSE_WAIT, {TIMEOUT_HALF_CLOSE, TIMEOUT_NONE, TIMEOUT_NONE}},
    {CONNTRACK_FIN_WAIT, {TIMEOUT_HALF_CLOSE, TIMEOUT_NONE, TIMEOUT_NONE}},
};

static void main_warn_conntrack(const struct process *process, const struct remembered *row)
{
	const struct worker_settings *settings = &process->settings.worker;
	int64_t keepalive_ms = settings->keepalive_idle + settings->keepalive_interval, kept_ms, wanted_ms = 0;
	char duration[DURATION_TEXT_SIZE];
	uint32_t seconds;
	bool asked = false;
	TEXT_ON_STACK(longer, 1024);
	TEXT_ON_STACK(remedy, 96);

	if (conntrack_timeout_read(row->state, &seconds))
		return;
	kept_ms = (int64_t)seconds * 1000;
	/* Keep-alive probes refresh the entry, on a half-closed leg at a third of close_wait. */
	if (row->state == CONNTRACK_ESTABLISHED && keepalive_ms < kept_ms)
		return;
	for (size_t i = 0; i < sizeof row->timers / sizeof row->timers[0] && row->timers[i] != TIMEOUT_NONE; i++) {
		const struct timeout_value *value = &policy_timeouts(process->proxy.policy)->of[row->timers[i]];
		int64_t ms = advice_conntrack_ms(value->milliseconds);

		if (ms <= kept_ms)
			continue;
		text_printf(&longer, "%s%s=%s (%s)", longer.length ? ", " : "", timeouts_name(row->timers[i]),
		            duration_format(value->milliseconds, duration), value->source);
		asked = asked || strcmp(value->source, "built-in") != 0;
		wanted_ms = ms > wanted_ms ? ms : wanted_ms;
	}
	if (!wanted_ms)
		return;
	advice_conntrack(row->state, wanted_ms, &remedy);
	/* Only what somebody asked for is worth a warning at every start. */
	log_message(process->log, asked ? LOG_WARN : LOG_INFO,
	            "conntrack forgets a silent connection in state %s after %s, earlier than %s; %s makes it remember%s",
	            conntrack_state_name(row->state), duration_format(kept_ms, duration), longer_bytes, remedy_bytes,
	            row->state == CONNTRACK_CLOSE_WAIT ? "; without, TCP keep-alive holds it while both hosts answer" : "");
}

static void main_read_conntrack(struct process *process)
{
	uint32_t close_wait = CLOSE_WAIT_DEFAULT_S;

	(void)conntrack_timeout_read(CONNTRACK_CLOSE_WAIT, &close_wait);
	process->proxy.half_closed_keepalive_s = close_wait > 6 ? (int)(close_wait - 1) / 3 : 1;
	for (size_t i = 0; i < sizeof remembered / sizeof remembered[0]; i++)
		main_warn_conntrack(process, &remembered[i]);
}

/* --- running --- */

static void main_advance_drain(struct process *process, enum drain drain)
{
	if (drain <= (enum drain)atomic_load(&process->proxy.drain))
		return;
	atomic_store(&process->proxy.drain, (int)drain);
	for (int i = 0; i < process->worker_count; i++)
		if (process->workers[i])
			worker_wake(process->workers[i]);
}

static void main_drain(struct process *process, const char *who)
{
	unsigned long long open = atomic_load(&process->proxy.connections);
	const struct timeouts *timeouts = policy_timeouts(process->proxy.policy);
	int64_t limit = timeouts->of[TIMEOUT_DRAIN].milliseconds, least = timeouts->of[TIMEOUT_DRAIN_LEAST].milliseconds;
	char limit_text[DURATION_TEXT_SIZE], least_text[DURATION_TEXT_SIZE];

	if (limit && least > limit)
		least = limit;
	log_message(process->log, LOG_INFO,
	            "%s: draining; all is served for %s (drainLeast), then %llu connection%s %s to end; a second signal ends what is left at once",
	            who, duration_format(least, least_text), open, open == 1 ? " has" : "s have",
	            limit ? duration_format(limit, limit_text) : "any time");
	main_advance_drain(process, DRAIN_ANNOUNCED);
	if (least)
		wheel_arm(loop_wheel(process->loop), &process->leave_timer, loop_now(process->loop) + least);
	else
		main_advance_drain(process, DRAIN_STARTED);
}

static void main_leave(struct wheel_timer *timer)
{
	main_advance_drain(process_of(timer, leave_timer), DRAIN_STARTED);
}

static void main_print_settings(void *owner, struct json *json)
{
	const struct process *process = owner;

	settings_print_changed(&process->settings, json);
}

static void main_drain_asked(void *owner, const char *who)
{
	main_drain(owner, who);
}

static void main_signal(struct loop_source *source, uint32_t events)
{
	struct process *process = process_of(source, signals);
	struct signalfd_siginfo signal;

	if (read(source->fd, &signal, sizeof signal) != sizeof signal)
		return;
	if (signal.ssi_signo == SIGHUP) {
		reload_now(process->reload);
	} else if (atomic_load(&process->proxy.drain) == DRAIN_NONE) {
		main_drain(process, signal.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
	} else {
		main_advance_drain(process, DRAIN_FORCED);
	}
}

static void main_log_retry(struct wheel_timer *timer)
{
	/* The flush comes before the next wait; the timer only ends the one before. */
}

static void main_idle(void *owner)
{
	struct process *process = owner;

	if (atomic_load(&process->proxy.drain) >= DRAIN_STARTED && !atomic_load(&process->proxy.connections)) {
		main_advance_drain(process, DRAIN_STOP);
		loop_stop(process->loop);
	}
	admin_idle(process->admin);
	reload_collect(process->reload);
	if (log_flush(process->log) && !wheel_armed(&process->log_timer))
		wheel_arm(loop_wheel(process->loop), &process->log_timer, loop_now(process->loop) + 20);
}

static int main_watch_signals(struct process *process)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log file as large as RLIMIT_FSIZE allows */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	process->signals = (struct loop_source){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .ready = main_signal};
	return process->signals.fd < 0 ? -errno : loop_watch(process->loop, &process->signals, EPOLLIN);
}

/* sd_notify(3): READY=1 to the socket that systemd names. */
static void main_notify_ready(void)
{
	static const char message[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path ? strlen(path) : 0;
	int fd;

	if (!length || length >= sizeof address.sun_path)
		return;
	memcpy(address.sun_path, path, length);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, message, sizeof message - 1, MSG_NOSIGNAL, (struct sockaddr *)&address,
	             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

static int main_start_workers(struct process *process)
{
	const struct settings *settings = &process->settings;

	for (int i = 0; i < process->worker_count; i++) {
		int result = worker_new(&process->workers[i], &process->proxy, process->log_fd);

		/* Another proxy that drains, or the listener of lapse-init check, may hold the port for a moment. */
		for (int turn = 0; turn < PORT_TRIES && result == -EADDRINUSE; turn++) {
			usleep(PORT_RETRY_MS * 1000);
			result = worker_new(&process->workers[i], &process->proxy, process->log_fd);
		}
		if (result) {
			log_message(process->log, LOG_ERROR, "listening on ports %u (inbound) and %u (outbound) failed: %s%s",
			            settings->worker.inbound_port, settings->worker.outbound_port, strerror(-result),
			            result == -EADDRINUSE ? "; another process has one of them: end it, or give lapse-proxy and "
			                                    "lapse-init another --inbound-port or --outbound-port"
			            : result == -EACCES   ? "; ports under 1024 are for root alone: give lapse-proxy and lapse-init ports "
			                                    "from 1024 on, or set net.ipv4.ip_unprivileged_port_start"
			                                  : "");
			return result;
		}
	}
	for (int i = 0; i < process->worker_count; i++) {
		int result = worker_start(process->workers[i]);

		if (result) {
			log_message(process->log, LOG_ERROR, "starting worker %d of %d failed: %s", i + 1, process->worker_count,
			            strerror(-result));
			return result;
		}
	}
	return 0;
}

static void main_publish(void *owner, struct policy *policy)
{
	struct process *process = owner;

	process->proxy.policy = policy;
	for (int i = 0; i < process->worker_count; i++)
		if (process->workers[i])
			worker_set_policy(process->workers[i], policy);
}

static int main_prepare(struct process *process)
{
	const struct settings *settings = &process->settings;
	const struct reload_settings reload = {&settings->policy, settings_paths(settings), settings->dns_server};
	struct proxy *proxy = &process->proxy;
	int result;

	process->log_fd = log_open_fd(STDOUT_FILENO);
	result = log_new(&process->log, process->log_fd, settings->worker.log_format, settings->worker.log_level, LOG_RING);
	if (!result)
		result = loop_new(&process->loop, main_idle, process);
	if (result)
		return result;
	process->log_timer.fire = main_log_retry;
	process->leave_timer.fire = main_leave;
	process->worker_count = settings->workers ? (int)settings->workers : main_cpus();
	process->http1 = (struct http1_settings){settings_limits(settings), settings->refuse_malformed_http};
	*proxy = (struct proxy){
	    .settings = &settings->worker,
	    .upstream = &settings->upstream,
	    .exchange = &settings->exchange,
	    .http1 = &process->http1,
	    .http1_proto = &proto_http1,
	    .http2_proto = &proto_http2,
	    .walk = walk_step,
	    .guard = {settings->worker.inbound_port, settings->worker.outbound_port, dials_new()},
	    .max_connections = main_connections(settings, process->worker_count, process->log),
	    .main_loop = process->loop,
	    .workers = process->workers,
	    .worker_count = process->worker_count,
	};
	if (!proxy->guard.dials || local_ports_new(&proxy->local_ports))
		return -ENOMEM;
	result = main_watch_signals(process);
	if (!result)
		result = main_drop_rights(settings, process->log);
	if (!result) /* with the rights that later readings will have */
		result = reload_new(&process->reload, &reload, process->loop, process->log, main_publish, process);
	if (!result)
		proxy->policy = reload_policy(process->reload);
	return result;
}

static void main_note_environment(struct log *log)
{
	TEXT_ON_STACK(unknown, 512);
	TEXT_ON_STACK(services, 512);

	settings_look_at_environment(environ, &unknown, &services);
	if (unknown.length)
		log_message(log, LOG_WARN, "not options of lapse-proxy, and not read: %s", unknown_bytes);
	if (services.length)
		log_message(log, LOG_WARN, "made by Kubernetes for a Service, and not read: %s", services_bytes);
}

static int main_start(struct process *process)
{
	const struct settings *settings = &process->settings;
	char admin[ADDR_TEXT_SIZE] = "off";
	int result = main_prepare(process);

	if (result)
		return result;
	main_note_environment(process->log);
	main_read_conntrack(process);
	if (gethostname(process->hostname, sizeof process->hostname - 1))
		process->hostname[0] = '\0';
	if (settings->admin.family) {
		const struct admin_context context = {
		    .loop = process->loop,
		    .log = process->log,
		    .proxy = &process->proxy,
		    .reload = process->reload,
		    .drain = main_drain_asked,
		    .print_settings = main_print_settings,
		    .owner = process,
		    .names = {process->hostname, settings->policy.cluster_domain, &settings->admin_hosts},
		    .started_ms = clock_realtime_ms(),
		};

		result = admin_new(&process->admin, &settings->admin, &context);
		addr_format(&settings->admin, admin);
		if (result)
			log_message(process->log, LOG_ERROR, "--admin %s: listening failed: %s%s", admin, strerror(-result),
			            result == -EADDRINUSE      ? "; another process has that port: end it, or give another address, or off"
			            : result == -EADDRNOTAVAIL ? "; give an address of this host, or 0.0.0.0 or [::] for all of them"
			                                       : "");
	}
	if (!result)
		result = main_start_workers(process);
	if (result)
		return result;
	log_message(process->log, LOG_INFO,
	            "lapse-proxy %s runs as uid %u: inbound port %u, outbound port %u, admin %s, %d worker%s, at most %llu connections",
	            LAPSE_VERSION, geteuid(), settings->worker.inbound_port, settings->worker.outbound_port, admin, process->worker_count,
	            process->worker_count == 1 ? "" : "s", (unsigned long long)process->proxy.max_connections);
	self_dial_start(&process->self_dial, process->loop, process->proxy.guard.dials, process->log, &process->proxy.looped);
	main_notify_ready();
	return 0;
}

static void main_finish(struct process *process)
{
	self_dial_stop(&process->self_dial);
	main_advance_drain(process, DRAIN_STOP);
	for (int i = 0; i < process->worker_count; i++) {
		if (process->workers[i])
			worker_join(process->workers[i]);
		worker_free(process->workers[i]);
	}
	admin_free(process->admin);
	reload_free(process->reload);
	if (process->loop) {
		loop_close(process->loop, &process->signals);
		loop_free(process->loop);
	}
	dials_free(process->proxy.guard.dials);
	local_ports_free(process->proxy.local_ports);
	log_free(process->log);
}

/* What a reading leaves goes back to the kernel: without this glibc takes large blocks from its heap once one has been freed, where
 * they stay between what lives longer. The buffers of connections are smaller. */
static void main_set_allocator(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
#endif
}

static int main_run(const struct settings *settings)
{
	struct process *process = calloc(1, sizeof *process);
	int result;

	main_set_allocator();
	log_fill_standard();
	if (!process)
		return EXIT_FAILURE;
	process->settings = *settings;
	process->signals.fd = -1;
	result = main_start(process);
	if (!result) {
		loop_run(process->loop);
		log_message(process->log, LOG_INFO, "drained; no connection is left");
	}
	main_finish(process);
	free(process);
	return !result ? EXIT_SUCCESS : result == -EBADMSG ? EXIT_CONFIGURATION : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct settings settings;
	TEXT_ON_STACK(error, 512);
	int command, status = EXIT_SUCCESS;

	if (argc > 1 && strcmp(argv[1], "inject") == 0)
		return inject_run(argc, argv, environ, stdin, stdout, stderr);
	if (settings_parse(argc, argv, environ, &settings, &command, &error)) {
		fprintf(stderr, "lapse-proxy: %s\n", error_bytes);
		status = EXIT_USAGE;
	} else if (command == OPTIONS_HELP) {
		settings_print_help(stdout);
	} else if (command == OPTIONS_VERSION || command == COMMAND_VERSION) {
		printf("lapse-proxy %s\n", LAPSE_VERSION);
	} else if (settings.docs) {
		docs_print(settings.docs, stdout);
	} else if (command == COMMAND_EXPLAIN) {
		status = explain_run(&settings, stdout, stderr);
	} else if (command == COMMAND_INJECT) {
		fputs("lapse-proxy: inject: give it before its options\n", stderr);
		status = EXIT_USAGE;
	} else if (command == COMMAND_READY) {
		status = ready_run(&settings, stderr);
	} else if (command == COMMAND_CHECK_CONFIG) {
		status = check_config_run(&settings, stdout, stderr);
	} else if (command == COMMAND_WHY) {
		status = why_run(&settings, stdout, stderr);
	} else {
		status = main_run(&settings);
	}
	settings_free(&settings);
	return status;
}
