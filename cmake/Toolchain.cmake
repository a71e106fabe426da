# Compiler, standard, warnings and sanitizers: the same for every target.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR
    "g++ ${CMAKE_CXX_COMPILER_VERSION} miscompiles ordinary coroutine code: everyday forms double-free or read freed "
    "memory at every optimisation level. Use clang++-19 (the presets do) or g++ 13 and later.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# One code model for libraries and programs (all link statically into position-independent executables), because a
# precompiled header built with -fPIC cannot be used with -fPIE.
add_compile_options(-fPIE)
add_link_options(-pie)
# Debian's module scanning is off: there are no C++20 modules here and the scan costs a process per file.
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

find_program(GS_LLD NAMES ld.lld-19 ld.lld)
if(GS_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Coroutine code folds well: less to map for the agent, which has a budget of 15 MiB.
  add_link_options(-fuse-ld=lld -Wl,--icf=safe)
endif()
add_link_options(-Wl,--as-needed -Wl,--gc-sections)
add_compile_options(-ffunction-sections -fdata-sections)

find_program(GS_CCACHE ccache)
if(GS_CCACHE)
  # Sloppiness is what lets ccache hash a translation unit that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${GS_CCACHE})
  add_compile_options(-Xclang -fno-pch-timestamp)
endif()

set(GS_WARNINGS
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-align -Woverloaded-virtual
  -Wconversion -Wno-sign-conversion  # sizes from libraries come as both signs; the narrowing half is kept
  -Wnull-dereference -Wimplicit-fallthrough -Werror)

set(GS_SANITIZE "" CACHE STRING "comma-separated sanitizers for -fsanitize=")
if(GS_SANITIZE)
  add_compile_options(-fsanitize=${GS_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${GS_SANITIZE})
endif()

add_compile_definitions(
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE BOOST_ERROR_CODE_HEADER_ONLY)
add_compile_options($<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2> -fstack-protector-strong)
