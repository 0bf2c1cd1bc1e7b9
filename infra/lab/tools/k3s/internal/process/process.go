// Package process runs the parts of K3s as child processes and keeps them running.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

const (
	firstDelay = 500 * time.Millisecond
	longDelay  = 10 * time.Second
	// settled is how long a part must have run for its next failure to count as the first.
	settled = 30 * time.Second
	// stopGrace is how long a part may take to stop before it is killed.
	stopGrace = 10 * time.Second
	// longestLine is where a part's overlong log line is cut.
	longestLine = 16 * 1024
)

// Process is one part: this very binary under another name, or a program of the system when Path is set.
type Process struct {
	// Name shows in the log and, when Path is empty, chooses the part.
	Name string
	Path string
	// Args never hold a secret: every user of the machine can read them.
	Args []string
	// Env is added to the environment.
	Env []string
}

// Group runs processes until it is stopped, which it does in the reverse order of their start.
type Group struct {
	mutex   sync.Mutex
	members []*member
}

type member struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Keep starts a process now and starts it again, with growing delays, whenever it ends.
func (g *Group) Keep(part Process) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan struct{})}
	g.mutex.Lock()
	g.members = append(g.members, m)
	g.mutex.Unlock()
	go func() {
		defer close(m.done)
		keep(ctx, part)
	}()
}

// Stop ends all, the last started first, and waits for each.
func (g *Group) Stop() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for index := len(g.members) - 1; index >= 0; index-- {
		g.members[index].cancel()
		<-g.members[index].done
	}
	g.members = nil
}

func keep(ctx context.Context, part Process) {
	// A child asks the kernel to be killed with its parent, and the kernel takes the parent to be the *thread* that
	// started it. Without this the child would die whenever the Go runtime retires that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	delay := firstDelay
	for {
		began := time.Now()
		err := once(ctx, part)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > settled {
			delay = firstDelay
		}
		log.Printf("%s ended (%v); starting it again in %s", part.Name, err, delay)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, longDelay)
	}
}

func once(ctx context.Context, part Process) error {
	path, name := part.Path, part.Path
	if path == "" {
		name = part.Name
		var err error
		if path, err = ownName(name); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, path, part.Args...)
	command.Args[0] = name
	command.Env = append(os.Environ(), part.Env...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopGrace
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		copyLines(reader, part.Name)
	}()
	err := command.Run()
	writer.Close()
	<-logged
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// ownName makes a link by which this very binary runs under the part's name, so that `ps` and `ss` tell the parts apart. It
// leads to the binary that runs now, also when the file was replaced meanwhile: an upgrade takes effect at a restart.
func ownName(name string) (string, error) {
	path := filepath.Join(layout.RunDir, "bin", name)
	target := fmt.Sprintf("/proc/%d/exe", os.Getpid())
	if at, err := os.Readlink(path); err == nil && at == target {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return path, os.Symlink(target, path)
}

func copyLines(reader io.Reader, name string) {
	lines := bufio.NewReaderSize(reader, longestLine)
	for {
		line, cut, err := lines.ReadLine()
		if err != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, line)
		for cut && err == nil {
			_, cut, err = lines.ReadLine()
		}
	}
}
