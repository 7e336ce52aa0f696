# The warnings that every target of ours is built with; they are errors, with gcc 12 and clang 14.
# A build on other compilers sets WEIR_WERROR=OFF.
set(WEIR_WARNINGS
    -Wall -Wextra -Wpedantic
    -Wbad-function-cast -Wcast-align -Wcast-qual -Wconversion -Wdate-time
    -Wdouble-promotion -Wempty-body -Wendif-labels -Wfloat-equal -Wformat=2 -Wformat-security
    -Wignored-qualifiers -Wimplicit-fallthrough -Winit-self -Winline -Wmissing-declarations
    -Wmissing-include-dirs -Wmissing-prototypes -Wnested-externs -Wnull-dereference
    -Wold-style-definition -Wpointer-arith -Wredundant-decls -Wshadow -Wsign-compare
    -Wstrict-prototypes -Wstrict-aliasing=2 -Wswitch-enum -Wtype-limits -Wundef -Wuninitialized
    -Wunknown-pragmas -Wunreachable-code -Wunused -Wunused-macros -Wunused-parameter -Wvla
    -Wwrite-strings)
if(WEIR_WERROR)
    list(APPEND WEIR_WARNINGS -Werror)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND WEIR_WARNINGS -Walloca -Wduplicated-branches -Wduplicated-cond -Wjump-misses-init
         -Wlogical-op -Wstack-protector -Wtrampolines -Wno-null-dereference)
endif()
# GNU extensions are used where they earn it (statement expressions, __int128).
list(APPEND WEIR_WARNINGS -Wno-pedantic -Wno-inline)
