# Version strings read major.minor.commits-short, e.g. 0.1.339-6d0940d. A tree without history is 0.1.0-unknown.
set(GS_VERSION_MAJOR_MINOR "0.1")
execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-list --count HEAD
  OUTPUT_VARIABLE GS_COMMITS OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-parse --short=7 HEAD
  OUTPUT_VARIABLE GS_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT GS_COMMITS)
  set(GS_COMMITS 0)
endif()
if(NOT GS_COMMIT)
  set(GS_COMMIT unknown)
endif()
set(GS_VERSION "${GS_VERSION_MAJOR_MINOR}.${GS_COMMITS}-${GS_COMMIT}")
message(STATUS "GlobalStacks ${GS_VERSION}")
