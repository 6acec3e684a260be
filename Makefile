# sudo does not have Go's own directory in its path.
export PATH := $(PATH):/usr/local/go/bin
export CGO_ENABLED := 0
# Under sudo git may refuse to look at somebody else's clone.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

VERSION := $(shell packaging/version.sh)
LDFLAGS := -s -w -X tuplenet/modes.release=$(VERSION)
# The CNI plugin is a module of its own, see plugins/cni/doc.go.
PACKAGES := ./... cni.tuplenet/...
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all deps test-deps build man docker-plugin packages test test-packages test-kernel vm-test soak demo bench lint fuzz clean

all: build

deps: ## install what is needed, by package name
	@packaging/deps.sh

build: ## bin/tuplenet and its names
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/tuplenet .
	@for name in tpctl tpcni tpcnm; do ln -sf tuplenet bin/$$name; done

man: build ## the manual pages in packaging/man, and what else the program says of itself: docs/tpctl.md, docs/configuration.md, packaging/etc/agent.yaml
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git -c safe.directory='*' log -1 --format=%ct)} bin/tuplenet man packaging/man
	bin/tuplenet man --markdown >docs/tpctl.md
	bin/tuplenet man --configuration >docs/configuration.md
	@mkdir -p packaging/etc
	bin/tuplenet man --agent-yaml >packaging/etc/agent.yaml

docker-plugin: build ## bin/docker-plugin, of which `docker plugin create` makes a managed plugin, for swarm
	@packaging/docker/build.sh bin/tuplenet bin/docker-plugin
	@echo "next, on each host: docker plugin create tuplenet bin/docker-plugin && docker plugin enable tuplenet"

packages: ## dist/*.deb and *.rpm; DIST=directory, ARCHITECTURES=amd64, VERSION=1.2.3
	@VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' packaging/build.sh '$(or $(DIST),dist)' '$(ARCHITECTURES)'

test-deps:
	@packaging/deps.sh test

# Scenarios count lost packets: what keeps all processors busy waits for them.
test: test-deps build ## all tests: unit, golden, scenarios with real Open vSwitch, container runtimes
	go test -count=1 -timeout 15m $(filter-out %/internal/runtimes,$(shell go list $(PACKAGES)))
	go test -count=1 -timeout 15m ./internal/runtimes

test-packages: ## build the packages, judge them, and install, upgrade and remove them on hosts that exchange packets
	@packaging/deps.sh packages
	@packaging/test.sh

test-kernel: ## scenarios on the kernel's datapath, in an emulated machine; ONLY=. for all of them
	@packaging/deps.sh kernel
	internal/lab/kernel/run '$(ONLY)'

vm-test: ## what vagrant/ does, by qemu alone: the package on five machines that boot Debian, and the tutorial on the kernel's datapath
	@packaging/deps.sh vm
	@VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' packaging/build.sh bin/vm amd64 deb
	@internal/lab/kernel/vm-test bin/vm/*.deb

soak: deps ## break a lab at random for DURATION (2m) and judge it; SEED=n to do the same again, FAULTS=50 in a sequence
	go test -count=1 -v -timeout 0 ./internal/soak -args -duration $(or $(DURATION),2m) \
		-seed $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')) -faults $(or $(FAULTS),50) -settle 2s

demo: deps build ## two hosts, one router, a ping across
	@bin/tuplenet lab demo

bench: ## measure; ONLY='Compile|Latency' for a subset; writes docs/performance.md
	@packaging/deps.sh bench
	go test ./internal/bench -run '^$$' -bench '$(or $(ONLY),.)' -benchtime 1x -timeout 30m -write $(CURDIR)/docs/performance.md

lint: ## formatting, vet, staticcheck, systemd's units
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt would change these files"; exit 1; }
	go vet -tags packages $(PACKAGES)
	go run $(STATICCHECK) -tags packages $(PACKAGES)
	packaging/systemd/verify.sh

fuzz: ## each fuzz target for FUZZTIME (20s)
	@for p in $$(go list $(PACKAGES)); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),20s) $$p || exit 1; \
		done; \
	done

clean:
	rm -rf bin dist
