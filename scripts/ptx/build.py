#!/usr/bin/env python3
"""Compiles every kernel file of core to PTX with NVRTC, and describes them in the manifest.

    pip install nvidia-cuda-nvrtc-cu12==12.1.105 nvidia-cuda-nvcc-cu12==12.9.86
    scripts/ptx/build.py [--only NAME,…] [--check | --resources]

Needs no GPU, driver or toolkit. NVRTC 12.1 writes PTX 8.1, which drivers from R530 on read.
--check compiles again and compares with what is committed, byte by byte.
--resources assembles the committed PTX for every architecture and prints the registers, spills and shared memory of each kernel; spills, and other numbers than the manifest's, are failures.
NVIDIA_ROOT names a folder with cuda_nvrtc/ and cuda_nvcc/ where the packages are not installed.
"""
import argparse, concurrent.futures, ctypes, glob, importlib.util, json, os, pathlib, re, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "crates/chainrule-core/src"
MANIFEST = SOURCE / "cuda/manifest.json"
COMPILER = (12, 1)
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
HEADERS = SOURCE / "cuda"
OPTIONS = ["--gpu-architecture=compute_80", "-std=c++17", "--fmad=true"]


def nvidia(part):
    if root := os.environ.get("NVIDIA_ROOT"):
        return pathlib.Path(root) / part
    try:
        found = importlib.util.find_spec(f"nvidia.{part}")
    except ModuleNotFoundError:
        found = None
    if not found:
        sys.exit(f"nvidia.{part} is not installed:\n{__doc__}")
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def fnv(*texts):
    """FNV-1a, 64 bits: what the test of the manifest computes too."""
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in text:
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def kernel_files(only=()):
    """The .cu files, or those with these stems."""
    return [path for path in sorted(SOURCE.rglob("*.cu")) if not only or path.stem in only]


class CompileError(Exception):
    pass


class Nvrtc:
    def __init__(self):
        folder = nvidia("cuda_nvrtc") / "lib"
        # NVRTC opens its built-in headers by their bare name.
        for name in sorted(glob.glob(f"{folder}/libnvrtc-builtins.so*")):
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(sorted(glob.glob(f"{folder}/libnvrtc.so*"))[0])
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        if (major.value, minor.value) != COMPILER:
            sys.exit(f"NVRTC {major.value}.{minor.value} is installed, expected {COMPILER[0]}.{COMPILER[1]} (another writes other bytes)")

    def compile(self, text, name, headers=HEADERS):
        """The PTX of a source text, and what the compiler says to it."""
        lib, program, size = self.library, ctypes.c_void_p(), ctypes.c_size_t()
        options = [option.encode() for option in OPTIONS + [f"-I{headers}"]]
        assert lib.nvrtcCreateProgram(ctypes.byref(program), text, name.encode(), 0, None, None) == 0
        failed = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, log)
        if failed:
            lib.nvrtcDestroyProgram(ctypes.byref(program))
            raise CompileError(f"{name}: NVRTC error {failed}\n{log.value.decode()}")
        lib.nvrtcGetPTXSize(program, ctypes.byref(size))
        ptx = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetPTX(program, ptx)
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        # NVRTC's own headers leave constants that no kernel reads.
        return re.sub(rb"^\.global .*nv6target.*\n", b"", ptx.value, flags=re.M), log.value.decode().strip()


def assembled(path, architecture):
    """[registers, spilled bytes, bytes of static shared memory] of each kernel on one architecture."""
    done = subprocess.run([nvidia("cuda_nvcc") / "bin/ptxas", "-v", f"-arch={architecture}", path, "-o", "/dev/null"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path}: {done.stderr}")
    kernels, name = {}, None
    for line in done.stderr.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match[1]
            kernels[name] = [0, 0, 0]
        elif name and (match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            kernels[name][1] = int(match[1]) + int(match[2])
        elif name and (match := re.search(r"Used (\d+) registers", line)):
            kernels[name][0] = int(match[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                kernels[name][2] = int(shared[1])
    return kernels


def resources(path):
    """The same of each kernel, for every architecture."""
    os.chmod(nvidia("cuda_nvcc") / "bin/ptxas", 0o755)
    kernels = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for architecture, found in zip(ARCHITECTURES, pool.map(lambda architecture: assembled(path, architecture), ARCHITECTURES)):
            for name, numbers in found.items():
                kernels.setdefault(name, {})[architecture] = numbers
    return kernels


def spilling(kernels):
    return sorted(name for name, per in kernels.items() if any(spilled for _, spilled, _ in per.values()))


def check(paths):
    nvrtc = Nvrtc()
    wrong = [name_of(p) for p in paths if not p.with_suffix(".ptx").exists() or p.with_suffix(".ptx").read_bytes() != nvrtc.compile(p.read_bytes(), name_of(p))[0]]
    print(f"{len(paths)} files compiled again, {len(wrong)} differ {wrong or ''}")
    return bool(wrong)


def table(paths):
    """Prints what every kernel takes."""
    manifest, wrong = json.loads(MANIFEST.read_text(encoding="utf-8")), []
    print(f"{'registers':58}" + "".join(f"{a:>8}" for a in ARCHITECTURES) + f"{'spilled':>9}{'shared':>8}")
    for path in paths:
        kernels = resources(path.with_suffix(".ptx"))
        for name, per in sorted(kernels.items()):
            most = [max(numbers[i] for numbers in per.values()) for i in range(3)]
            print(f"{path.stem + ' ' + name:58}" + "".join(f"{per[a][0]:8}" for a in ARCHITECTURES) + f"{most[1]:9}{most[2]:8}")
        wrong += [f"{name} spills" for name in spilling(kernels)]
        if kernels != manifest.get(name_of(path), {}).get("kernels"):
            wrong.append(f"the manifest says something else of {name_of(path)}")
    print("\n".join(wrong) or "no spills; the manifest says the same")
    return bool(wrong)


def name_of(path):
    return str(path.relative_to(SOURCE))


def build(paths):
    nvrtc = Nvrtc()
    headers = [p.read_bytes() for p in sorted(HEADERS.glob("*.cuh"))]
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {}
    for path in paths:
        name, target = name_of(path), path.with_suffix(".ptx")
        ptx, said = nvrtc.compile(path.read_bytes(), name)
        if said:
            print(said)
        target.write_bytes(ptx)
        version = re.search(rb"^\.version (\S+)", ptx, re.M)[1].decode()
        kernels = resources(target)
        manifest[name] = {"source": fnv(path.read_bytes(), *headers), "ptx": fnv(ptx), "compiler": "NVRTC 12.1.105", "version": version, "kernels": kernels}
        most = max((numbers[0] for per in kernels.values() for numbers in per.values()), default=0)
        spills = f", SPILLS in {', '.join(spilling(kernels))}" if spilling(kernels) else ""
        print(f"{name}: {len(ptx)} bytes, PTX {version}, {len(kernels)} kernels, at most {most} registers{spills}")
    known = {name_of(path) for path in kernel_files()}
    manifest = {name: entry for name, entry in sorted(manifest.items()) if name in known}
    # A kernel a line, so that a change shows.
    MANIFEST.write_text(re.sub(r"\{\s+(\"sm_[^{}]*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", json.dumps(manifest, indent=1)) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[], metavar="NAME,…", help="stems of .cu files")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--resources", action="store_true")
    arguments = parser.parse_args()
    paths = kernel_files(arguments.only)
    try:
        sys.exit(check(paths) if arguments.check else table(paths) if arguments.resources else build(paths))
    except CompileError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
