"""Names of files that tools write: lock files, protocol compilers' output, minified bundles.

Own list. A name is here only if nobody writes such a file by hand; what is sometimes hand-written is left
to the marker phrases of generated.py. The tables are part of the name class (names.py): a name that is
listed here can be told from the class alone.
"""

from __future__ import annotations

LOCK_NAMES = frozenset(
    {
        b".terraform.lock.hcl",
        b"Cargo.lock",
        b"Gemfile.lock",
        b"Gopkg.lock",
        b"MODULE.bazel.lock",
        b"Package.resolved",
        b"Pipfile.lock",
        b"Podfile.lock",
        b"Cartfile.resolved",
        b"bun.lock",
        b"composer.lock",
        b"conan.lock",
        b"deno.lock",
        b"flake.lock",
        b"glide.lock",
        b"go.sum",
        b"go.work.sum",
        b"gradle.lockfile",
        b"mix.lock",
        b"npm-shrinkwrap.json",
        b"package-lock.json",
        b"packages.lock.json",
        b"paket.lock",
        b"pdm.lock",
        b"pixi.lock",
        b"pnpm-lock.yaml",
        b"poetry.lock",
        b"pubspec.lock",
        b"rebar.lock",
        b"stack.yaml.lock",
        b"uv.lock",
        b"yarn.lock",
    }
)
"""Lock files and checksums of dependency managers: exact base names."""

GENERATED_NAMES = LOCK_NAMES | frozenset(
    {
        # wrappers and resource files that build tools copy or write into every project
        b"gradlew",
        b"gradlew.bat",
        b"mvnw",
        b"mvnw.cmd",
        b".pnp.cjs",
        b".pnp.loader.mjs",
        b"R.java",
        b"BuildConfig.java",
        b"Resource.designer.cs",
        b"aclocal.m4",
        b"config.guess",
        b"config.sub",
        b"ltmain.sh",
    }
)
"""Exact base names."""

MINIFIED_SUFFIXES = (
    b".min.js",
    b".min.mjs",
    b".min.cjs",
    b".min.css",
    b"-min.js",
    b".bundle.js",
    b".chunk.js",
    b".js.map",
    b".css.map",
)
"""Minified and bundled code, source maps: ends of the lower-cased base name."""

GENERATED_SUFFIXES = (
    *MINIFIED_SUFFIXES,
    # protocol and interface compilers
    b"_pb2.py",
    b"_pb2.pyi",
    b"_pb2_grpc.py",
    b"_pb.js",
    b"_pb.d.ts",
    b"_grpc_pb.js",
    b".pb.go",
    b".pb.gw.go",
    b".pb.cc",
    b".pb.h",
    b".pb.rb",
    b"_pb.rb",
    b".pbobjc.h",
    b".pbobjc.m",
    b".pb.swift",
    b".pbjson.dart",
    b".pb.dart",
    b".pbenum.dart",
    b".pbserver.dart",
    # code generators of single ecosystems
    b".g.dart",
    b".freezed.dart",
    b".g.cs",
    b".g.i.cs",
    b".designer.cs",
    b".designer.vb",
    b".xcdatamodeld",
    b".nib",
    b".xcworkspacedata",
    b".pbxproj",
    b"_generated.go",
    b"_generated.deepcopy.go",
    b".ngfactory.ts",
    b".ngsummary.json",
)
"""Ends of the lower-cased base name; the longest that fits counts."""
