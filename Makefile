# Lapse. `make demo` and `make test` install what they need; `make help` lists the rest. V=1 shows the commands.
VERSION := 0.1.0
# release (default), debug, sanitize (ASan + UBSan), thread (TSan), fuzz (clang, libFuzzer), mutate (quick to compile, for make mutate)
BUILD ?= release
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
Q := $(if $(V),,@)
MAKEFLAGS += --no-builtin-rules

$(if $(filter $(BUILD),release debug sanitize thread fuzz mutate),,$(error BUILD=$(BUILD): release, debug, sanitize, thread, fuzz or mutate))

# Release goes straight into build/, the other flavours below it.
OUT := build$(if $(filter release,$(BUILD)),,/$(BUILD))
# llhttp: the system's package where there is one, else what tests/setup.sh unpacked.
LLHTTP_SYSTEM := $(wildcard /usr/include/llhttp.h)
LLHTTP_CFLAGS := $(if $(LLHTTP_SYSTEM),,-isystem build/deps/include)
LLHTTP_LIBS := $(if $(LLHTTP_SYSTEM),-lllhttp,build/deps/lib/libllhttp.a)

ifeq ($(LLHTTP_SYSTEM)$(wildcard build/deps/include/llhttp.h)$(filter deps demo test test-kubernetes chart check mutate bench bench-page instructions insert soak fuzz clean help,$(MAKECMDGOALS)),)
$(error llhttp is missing: run `make deps`, which installs what building needs)
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wno-missing-field-initializers -Wno-unused-parameter
CPPFLAGS := -I. -D_GNU_SOURCE -DLAPSE_VERSION='"$(VERSION)"' $(LLHTTP_CFLAGS)
# The two programs are optimised as a whole; test binaries link the same objects one by one, which is quicker.
LTO := $(if $(findstring clang,$(CC)),,-flto=auto -ffat-lto-objects)
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 $(LTO)
CFLAGS_debug := -O0 -g3
CFLAGS_mutate := -O1
CFLAGS_sanitize := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_thread := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
CFLAGS := -std=gnu11 $(if $(filter mutate,$(BUILD)),-fPIC,-fPIE) -pthread -fstack-protector-strong -ffunction-sections -fdata-sections $(WARNINGS) \
	$(CFLAGS_$(BUILD)) $(if $(WERROR),-Werror)
PROGRAM_LDFLAGS = $(if $(filter release,$(BUILD)),$(CFLAGS)) $(LDFLAGS:-fno-lto=)
LDFLAGS := $(if $(filter release,$(BUILD)),-fno-lto) -pie -pthread -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed $(filter -fsanitize=%,$(CFLAGS_$(BUILD)))

# Sources in the order of a connection's life.
LIB := timeouts reason duration addr ports text buf arena slab map clock wheel loop sock sock_listener local_ports options options_guess options_names options_environment options_print json log conntrack
INIT := main options plan rules image rule_text batch netlink cttimeout conntrack_apply netns show check report probe status \
	half_closed half_closed_flows half_closed_places half_closed_print half_closed_progress half_closed_list half_closed_known \
	half_closed_watch listeners tw_reuse foreign capability
PROXY := main docs ready \
	$(addprefix inject/,inject inject_description inject_options pod tree) \
	$(addprefix explain/,explain explain_print check_config) \
	$(addprefix why/,why why_fields why_line why_record why_span why_top why_table why_tally why_remedy why_page why_sections why_print why_print_json) \
	$(addprefix settings/,settings settings_check settings_value) \
	$(addprefix connection/,worker worker_thread listener admission place origin self_dial conn conn_events server_leg deadline progress \
	  proto_detect detect tls_hello proto_opaque steer cause ending conn_close proto_linger advice record) \
	$(addprefix http1/,proto_http1 http1 http1_field http1_plain http1_request http1_response partial turn_away unread rewrite reply) \
	$(addprefix http2/,proto_http2 session flow observe head header frame stream account act clock) \
	$(addprefix exchange/,exchange exchange_answer choice loss access retry) \
	$(addprefix leg/,leg input pump) \
	$(addprefix server/,upstream dials learned) \
	$(addprefix metrics/,metrics series words code) \
	$(addprefix admin/,walk admin admin_host admin_pages admin_metrics admin_config admin_view admin_html admin_files) \
	$(addprefix config/,config watch podinfo annotations annotations_value linkerd diagnostics yaml yaml_tree fields catalog manifest manifest_kubelb manifest_service \
	  manifest_ingress manifest_profile manifest_route manifest_rule manifest_filter manifest_reference manifest_text regex) \
	$(addprefix policy/,policy policy_build policy_attach policy_note route route_table profile filter budget terms reload) \
	$(addprefix dns/,resolve resolve_channel)
# lapse-publish: its own wing, and what it shares with lapse-proxy.
PUBLISH := $(addprefix publish/,kinds watcher watcher_grant discovery reflector reflector_object api client dialer cluster cluster_kubeconfig \
  tls response json_stream json json_text)

LIB_O := $(LIB:%=$(OUT)/obj/lib/%.o)
INIT_O := $(INIT:%=$(OUT)/obj/init/%.o)
PROXY_O := $(PROXY:%=$(OUT)/obj/proxy/%.o)
PUBLISH_O := $(PUBLISH:%=$(OUT)/obj/proxy/%.o)
INIT_LIBS := -lnftnl -lnetfilter_conntrack -lmnl
PROXY_LIBS := $(LLHTTP_LIBS) -lyaml -lpcre2-8 -lcares -lnghttp2
PUBLISH_LIBS := -lssl -lcrypto -ljansson

UNIT := $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(wildcard tests/unit/*/*.c tests/unit/*/*/*.c))
PLATFORM := $(patsubst tests/platform/%.c,$(OUT)/tests/platform/%,$(wildcard tests/platform/*.c))
BENCH := $(patsubst tests/bench/%.c,$(OUT)/tests/bench/%,$(wildcard tests/bench/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))

.PHONY: all chart help image demo test test-kubernetes test-binaries check mutate mutate-room fuzz fuzz-binaries bench bench-page instructions insert soak docs deps install clean FORCE
all: $(OUT)/lapse-init $(OUT)/lapse-proxy

help:
	@printf '%s\n' 'all      build/lapse-init and build/lapse-proxy' 'demo     install what is missing, build, show the main job' \
	  'test     install what is missing, build, run every test' \
	  'test-kubernetes  the image on a real kubelet and kube-apiserver, built from Go modules (CASES)' 'check    warnings as errors, clang-tidy, cppcheck, house rules' \
	  'chart    the chart: lint, what its schema refuses, renderings, and that each way makes the same pod' \
	  'fuzz     every fuzz target for FUZZ_SECONDS (20)' 'bench    figures beside HAProxy, nginx and a bare relay (ROUNDS, CASES)' \
	  'mutate   changes lines of proxy/ and init/ and looks whether a test notices, for MINUTES (60) (MUTANTS, SEED, FILES)' \
	  'bench-page    what the last bench measured, into docs/performance.md' \
	  'instructions  the figures that make test compares with, counted anew' \
	  'image    build/lapse.oci.tar, named IMAGE (lapse:$(VERSION)): what clusters run; needs no engine' \
	  'soak     mixed traffic with a reload every second for MINUTES (10), BUILD=sanitize and thread; CASES=short: connections a second' \
	  'insert   suites of Go, curl, Python and HAProxy, h2spec and grpc-go, direct and through the proxy (SUITE, TESTS, DIRECTION, MODE)' \
	  'docs     write what the binaries print into docs/' 'deps     install what building and testing need' \
	  'install  DESTDIR= PREFIX=/usr/local' 'clean    all of build/ but what deps fetched and Kubernetes' \
	  'BUILD=release|debug|sanitize|thread, V=1 shows the commands'

$(OUT)/lapse-init: $(INIT_O) $(LIB_O)
	@echo '  LINK $@'
	$(Q)$(CC) $(PROGRAM_LDFLAGS) -o $@ $^ $(INIT_LIBS)

$(OUT)/lapse-proxy: $(PROXY_O) $(LIB_O)
	@echo '  LINK $@'
	$(Q)$(CC) $(PROGRAM_LDFLAGS) -o $@ $^ $(PROXY_LIBS)

# Objects are made anew when the flags change.
$(OUT)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS)' > $@

$(OUT)/obj/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D); echo '  CC   $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The files that it takes in are seen by the assembler alone.
$(OUT)/obj/proxy/admin/admin_files.o: $(wildcard proxy/admin/connections.*)
$(OUT)/obj/proxy/inject/inject_description.o: charts/lapse/files/sidecar.yaml

-include $(LIB_O:.o=.d) $(INIT_O:.o=.d) $(PROXY_O:.o=.d) $(PUBLISH_O:.o=.d) $(wildcard $(OUT)/obj/tests/*.d $(OUT)/obj/tests/*/*.d $(OUT)/obj/tests/*/*/*.d $(OUT)/obj/tests/*/*/*/*.d)

# Unit tests link the room they test, all but its main().
UNIT_LIBS := -lcmocka $(INIT_LIBS) $(PROXY_LIBS)
$(OUT)/tests/unit/lib/%: $(OUT)/obj/tests/unit/lib/%.o $(LIB_O)
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)
$(OUT)/tests/unit/init/%: $(OUT)/obj/tests/unit/init/%.o $(LIB_O) $(filter-out %/main.o,$(INIT_O))
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)
$(OUT)/tests/unit/proxy/%: $(OUT)/obj/tests/unit/proxy/%.o $(LIB_O) $(filter-out %/main.o,$(PROXY_O))
	@[ ! -f $(@D) ] || rm $(@D); mkdir -p $(@D); echo '  LINK $@' # a room that became a wing left its binary there
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS)
$(PUBLISH_O): # named, so that make knows that they can be made and prefers this rule to the one above
$(OUT)/tests/unit/proxy/publish/%: $(OUT)/obj/tests/unit/proxy/publish/%.o $(LIB_O) $(filter-out %_main.o,$(PUBLISH_O)) $(filter-out %/main.o,$(PROXY_O))
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNIT_LIBS) $(PUBLISH_LIBS)
$(OUT)/tests/platform/%: $(OUT)/obj/tests/platform/%.o
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lmnl
$(OUT)/tests/bench/%: $(OUT)/obj/tests/bench/%.o
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^
# Fuzz targets are built whole by clang, once each with the code they need.
build/fuzz/%: $(OUT)/obj/tests/fuzz/%.o $(LIB_O) $(filter-out %/main.o,$(PROXY_O)) $(filter-out %_main.o,$(PUBLISH_O))
	@mkdir -p $(@D); echo '  LINK $@'
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PROXY_LIBS) $(PUBLISH_LIBS)

.SECONDARY:
test-binaries: all $(UNIT) $(PLATFORM)

deps:
	@tests/setup.sh

demo:
	@tests/setup.sh demo
	@$(MAKE) --no-print-directory all
	@tests/demo.sh $(OUT)

test: deps
	@$(MAKE) --no-print-directory test-binaries
	@/usr/bin/python3 tests/run.py $(OUT)

# The chart without a cluster; helm is built of Go modules into build/kubernetes, unless HELM names one.
chart:
	@tests/setup.sh kubernetes
	@$(MAKE) --no-print-directory all
	$(if $(HELM),,@tests/kubernetes/build.sh helm)
	@/usr/bin/python3 tests/chart/run.py $(OUT) $(or $(HELM),$${KUBE:-build/kubernetes}/bin/helm)

# Kubernetes is built once, into build/kubernetes (5 minutes and 5 GB), and checked against its sums after that.
test-kubernetes:
	@tests/setup.sh kubernetes
	@$(MAKE) --no-print-directory all
	@tests/kubernetes/build.sh node helm testapp
	@tests/kubernetes/images.sh $(OUT)
	@LAPSE_BUILD=$(OUT) /usr/bin/python3 tests/kubernetes/run.py $(CASES)

bench: deps
	@$(MAKE) --no-print-directory all $(BENCH)
	@tests/bench/envoy.sh $(OUT)/tests/bench/envoy
	@/usr/bin/python3 tests/bench/bench.py $(OUT)

# What the last one measured, into the page.
bench-page:
	@/usr/bin/python3 tests/bench/report.py $(OUT)/bench.json docs/performance.md

instructions: deps
	@$(MAKE) --no-print-directory all
	@WRITE_INSTRUCTIONS=1 /usr/bin/python3 tests/run.py $(OUT) e2e/instructions

# Not part of make test: it takes as long as it is told to. BUILD=sanitize and BUILD=thread are what it is for.
MINUTES ?= 10
soak: deps
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory BUILD=release build/tests/bench/short
	@MINUTES=$(MINUTES) /usr/bin/python3 tests/run.py $(OUT) --cases soak $(or $(CASES),mixed) -v

# Suites that nobody here wrote; what they need beyond `make test` is installed or fetched.
insert:
	@tests/setup.sh insert
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 tests/insert/insert.py $(OUT)

fuzz-binaries: $(FUZZ)
fuzz: deps
	@$(MAKE) --no-print-directory BUILD=fuzz CC=clang fuzz-binaries
	@tests/fuzz/run.sh

check: deps
	@tests/check.sh

# Lines changed one at a time, and the tests that should notice; what needs no sanitizer and no optimiser compiles in a second.
MINUTES ?= 60
MUTANTS ?= 200
SEED ?= 1
mutate: deps
	@$(MAKE) --no-print-directory BUILD=mutate mutate-room
mutate-room: all $(filter-out $(OUT)/obj/tests/unit/lib/%,$(UNIT:$(OUT)/tests/%=$(OUT)/obj/tests/%.o))
	@MUTATE_COMPILE='$(subst ','\'',$(CC) $(CPPFLAGS) $(CFLAGS))' MUTATE_LINK='$(CC) -pthread' MUTATE_LIBS='$(PROXY_LIBS) $(INIT_LIBS)' \
	  MUTATE_LIB_O='$(LIB_O)' MUTATE_INIT_O='$(INIT_O)' MUTATE_PROXY_O='$(PROXY_O)' \
	  /usr/bin/python3 tests/mutate/mutate.py --minutes $(MINUTES) --mutants $(MUTANTS) --seed $(SEED) $(FILES:%=--files %) $(MUTATE)

IMAGE ?= lapse:$(VERSION)
image: all
	@charts/image/lapse.sh $(OUT) $(OUT)/lapse.oci.tar $(IMAGE) $(VERSION)

docs: all
	@docs/print.sh $(OUT)

install: all
	install -D -m 755 $(OUT)/lapse-init $(DESTDIR)$(PREFIX)/sbin/lapse-init
	install -D -m 755 $(OUT)/lapse-proxy $(DESTDIR)$(PREFIX)/bin/lapse-proxy
	install -D -m 644 docs/man/lapse-init.8 $(DESTDIR)$(PREFIX)/share/man/man8/lapse-init.8
	install -D -m 644 docs/man/lapse-proxy.8 $(DESTDIR)$(PREFIX)/share/man/man8/lapse-proxy.8
	install -D -m 644 docs/man/lapse-proxy-inject.8 $(DESTDIR)$(PREFIX)/share/man/man8/lapse-proxy-inject.8
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/lapse LICENSE docs/NOTICE README.md
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/lapse/docs $(wildcard docs/*.md)
	cp -R docs/examples $(DESTDIR)$(PREFIX)/share/doc/lapse/docs/

clean:
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name deps ! -name kubernetes -exec rm -rf {} +
