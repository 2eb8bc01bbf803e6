#!/usr/bin/env python3
"""Compiles every kernel file of core to PTX with NVRTC, and describes them in the manifest.

    pip install nvidia-cuda-nvrtc-cu12==12.1.105 nvidia-cuda-nvcc-cu12==12.9.86
    scripts/ptx/build.py [--only NAME,…] [--check]

Needs no GPU, driver or toolkit. NVRTC 12.1 writes PTX 8.1, which drivers from R530 on read.
--check compiles again and compares with what is committed, byte by byte. NVIDIA_ROOT names a folder with cuda_nvrtc/ and cuda_nvcc/ where the packages are not installed.
"""
import ctypes, glob, importlib.util, json, os, pathlib, re, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "crates/chainrule-core/src"
MANIFEST = SOURCE / "cuda/manifest.json"
COMPILER = (12, 1)
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
OPTIONS = ["--gpu-architecture=compute_80", "-std=c++17", "--fmad=true", f"-I{SOURCE / 'cuda'}"]


def nvidia(part):
    if root := os.environ.get("NVIDIA_ROOT"):
        return pathlib.Path(root) / part
    found = importlib.util.find_spec(f"nvidia.{part}")
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

    def compile(self, path):
        lib, program, size = self.library, ctypes.c_void_p(), ctypes.c_size_t()
        name = str(path.relative_to(SOURCE)).encode()
        assert lib.nvrtcCreateProgram(ctypes.byref(program), path.read_bytes(), name, 0, None, None) == 0
        options = (ctypes.c_char_p * len(OPTIONS))(*[o.encode() for o in OPTIONS])
        failed = lib.nvrtcCompileProgram(program, len(OPTIONS), options)
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, log)
        if log.value.strip():
            print(log.value.decode())
        if failed:
            sys.exit(f"{name.decode()}: NVRTC error {failed}")
        lib.nvrtcGetPTXSize(program, ctypes.byref(size))
        ptx = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetPTX(program, ptx)
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        # NVRTC's own headers leave constants that no kernel reads.
        return re.sub(rb"^\.global .*nv6target.*\n", b"", ptx.value, flags=re.M)


def resources(path):
    """[registers, spilled bytes, bytes of static shared memory] of each kernel, for every architecture."""
    assembler = nvidia("cuda_nvcc") / "bin/ptxas"
    os.chmod(assembler, 0o755)
    kernels = {}
    for architecture in ARCHITECTURES:
        done = subprocess.run([assembler, "-v", f"-arch={architecture}", path, "-o", "/dev/null"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{path}: {done.stderr}")
        name = None
        for line in done.stderr.splitlines():
            if match := re.search(r"Compiling entry function '(\w+)'", line):
                name = match[1]
                entry = kernels.setdefault(name, {})
                entry[architecture] = [0, 0, 0]
            elif name and (match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)):
                entry[architecture][1] = int(match[1]) + int(match[2])
            elif name and (match := re.search(r"Used (\d+) registers", line)):
                entry[architecture][0] = int(match[1])
                if shared := re.search(r"(\d+) bytes smem", line):
                    entry[architecture][2] = int(shared[1])
    return kernels


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    only = next((a.split("=", 1)[1].split(",") for a in arguments if a.startswith("--only=")), None)
    headers = [p.read_bytes() for p in sorted((SOURCE / "cuda").glob("*.cuh"))]
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    nvrtc, known, wrong = Nvrtc(), set(), []
    for path in sorted(SOURCE.rglob("*.cu")):
        name = str(path.relative_to(SOURCE))
        known.add(name)
        if only and path.stem not in only:
            continue
        ptx, target = nvrtc.compile(path), path.with_suffix(".ptx")
        version = re.search(rb"^\.version (\S+)", ptx, re.M)[1].decode()
        if check:
            if not target.exists() or target.read_bytes() != ptx:
                wrong.append(name)
            continue
        target.write_bytes(ptx)
        kernels = resources(target)
        manifest[name] = {"source": fnv(path.read_bytes(), *headers), "ptx": fnv(ptx), "compiler": "NVRTC 12.1.105", "version": version, "kernels": kernels}
        spills = sorted({k for k, per in kernels.items() for r in per.values() if r[1]})
        most = max((r[0] for per in kernels.values() for r in per.values()), default=0)
        print(f"{name}: {len(ptx)} bytes, PTX {version}, {len(kernels)} kernels, at most {most} registers" + (f", SPILLS in {', '.join(spills)}" if spills else ""))
    if check:
        print(f"{len(known)} files compiled again, {len(wrong)} differ {wrong or ''}")
        sys.exit(bool(wrong))
    manifest = {name: entry for name, entry in sorted(manifest.items()) if name in known}
    # A kernel a line, so that a change shows.
    MANIFEST.write_text(re.sub(r"\{\s+(\"sm_[^{}]*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", json.dumps(manifest, indent=1)) + "\n")


main()
