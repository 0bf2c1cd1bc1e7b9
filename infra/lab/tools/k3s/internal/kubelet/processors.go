package kubelet

import (
	"os"
	"path/filepath"
	"strings"

	info "github.com/google/cadvisor/info/v1"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/utils/cpuset"
)

// cpusetFiles hold what a cgroup may run on, below the hierarchy's root: with cgroup v1, and with v2.
var cpusetFiles = []struct{ hierarchy, file string }{
	{"/sys/fs/cgroup/cpuset", "cpuset.effective_cpus"},
	{"/sys/fs/cgroup/cpuset", "cpuset.cpus"},
	{"/sys/fs/cgroup", "cpuset.cpus.effective"},
}

// realProcessors names, in the machine's topology, processors that the kernel lets this cgroup run on. How many the machine
// has, and so what the node offers, stays as it is.
type realProcessors struct {
	cadvisor.Interface
	cgroup string
}

// MachineInfo implements cadvisor.Interface.
func (r realProcessors) MachineInfo() (*info.MachineInfo, error) {
	machine, err := r.Interface.MachineInfo()
	if err != nil {
		return nil, err
	}
	allowed := r.allowed()
	if len(allowed) == 0 {
		return machine, nil
	}
	mapped := machine.Clone()
	mapped.Topology = renumber(machine.Topology, allowed)
	return mapped, nil
}

func (r realProcessors) allowed() []int {
	for _, place := range cpusetFiles {
		content, err := os.ReadFile(filepath.Join(place.hierarchy, r.cgroup, place.file))
		if err != nil {
			continue
		}
		if set, err := cpuset.Parse(strings.TrimSpace(string(content))); err == nil && !set.IsEmpty() {
			return set.List()
		}
	}
	return nil
}

// renumber replaces each processor that is not allowed by one that is, round and round.
func renumber(nodes []info.Node, allowed []int) []info.Node {
	known := map[int]bool{}
	for _, id := range allowed {
		known[id] = true
	}
	renumbered := make([]info.Node, len(nodes))
	for n, node := range nodes {
		cores := make([]info.Core, len(node.Cores))
		for c, core := range node.Cores {
			threads := make([]int, len(core.Threads))
			for t, id := range core.Threads {
				if threads[t] = id; !known[id] {
					threads[t] = allowed[id%len(allowed)]
				}
			}
			core.Threads = threads
			cores[c] = core
		}
		node.Cores = cores
		renumbered[n] = node
	}
	return renumbered
}
