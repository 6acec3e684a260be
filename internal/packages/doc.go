// Package packages tests what `make packages` builds, as a host meets it: the deb is
// installed, upgraded, removed and purged on machines that boot Debian with systemd,
// run Open vSwitch and exchange packets meanwhile, and deb and rpm in a root file
// system where nothing runs.
//
// Its tests have the build tag packages, as they need packages to test and a root
// file system to install them in: `make test-packages` makes both and runs them.
package packages
